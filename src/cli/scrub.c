#include "argus_config.h" /* GNU extensions */

#include "cli/scrub.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define KEY_SIZE 32
#define KEY_TEXT_SIZE 44 /* of which the last is '=' */
#define BLOT 'X'

void scrub_learn_line(struct scrub *s, const char *line)
{
    uint8_t key[48];
    const char *begin = line + strspn(line, " \t\r#"); /* old ones too */
    size_t size = strcspn(begin, " \t\r\n");

    if (size == KEY_TEXT_SIZE && s->count < SCRUB_KEYS_MAX &&
        EVP_DecodeBlock(key, (const uint8_t *)begin, KEY_TEXT_SIZE) ==
            KEY_SIZE + 1)
        memcpy(s->keys[s->count++], key, KEY_SIZE);
    OPENSSL_cleanse(key, sizeof key);
}

void scrub_learn(struct scrub *s, const char *path)
{
    char line[512];
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return;
    setvbuf(f, NULL, _IONBF, 0); /* no copy of a key stays behind */
    while (fgets(line, sizeof line, f) != NULL)
        scrub_learn_line(s, line);
    (void)fclose(f);
    OPENSSL_cleanse(line, sizeof line);
}

void scrub_learn_word(struct scrub *s, const char *word)
{
    if (strlen(word) >= 4 && s->words_count < SCRUB_WORDS_MAX)
        (void)snprintf(s->words[s->words_count++], SCRUB_WORD_SIZE, "%s", word);
}

void scrub_close(struct scrub *s)
{
    OPENSSL_cleanse(s, sizeof *s);
}

/* "-----BEGIN ... PRIVATE KEY-----" to the end of that block, or of the text.
 */
static unsigned clean_pem(char *text, size_t size)
{
    static const char begin[] = "-----BEGIN ", end[] = "-----END ";
    unsigned count = 0;
    char *at = text;

    while ((at = memmem(at, size - (size_t)(at - text), begin,
                        sizeof begin - 1)) != NULL) {
        size_t left = size - (size_t)(at - text);
        char *title = memmem(at, left < 64 ? left : 64, "PRIVATE KEY", 11);
        if (title == NULL) {
            at += sizeof begin - 1;
            continue;
        }
        char *last = memmem(at, left, end, sizeof end - 1);
        size_t length = last != NULL ? (size_t)(last - at) : left;
        memset(at, BLOT, length);
        at += length;
        count++;
    }
    return count;
}

static bool is_base64(char c)
{
    return isalnum((unsigned char)c) || c == '+' || c == '/' || c == '-' ||
           c == '_';
}

/* 43 characters and a '=': that is what 32 bytes look like. Longer words end
 * alike, so the last 43 count. */
static unsigned clean_base64(char *text, size_t size)
{
    size_t run = 0;
    unsigned count = 0;

    for (size_t i = 0; i < size; i++) {
        if (text[i] == '=' && run >= KEY_TEXT_SIZE - 1) {
            memset(text + i - run, BLOT, run + 1);
            count++;
        }
        run = is_base64(text[i]) ? run + 1 : 0;
    }
    return count;
}

static void put_hex(const uint8_t *key, bool is_upper, char *out)
{
    for (size_t i = 0; i < KEY_SIZE; i++)
        (void)snprintf(out + 2 * i, 3, is_upper ? "%02X" : "%02x", key[i]);
}

static unsigned clean_word(char *text, size_t size, const void *word,
                           size_t length)
{
    unsigned count = 0;
    char *at = text;

    while ((at = memmem(at, size - (size_t)(at - text), word, length)) !=
           NULL) {
        memset(at, BLOT, length);
        count++;
    }
    return count;
}

/* Base64 without its '=', which a cut or a URL may have lost. */
static unsigned clean_key(char *text, size_t size, const uint8_t *key)
{
    char hex[2 * KEY_SIZE + 1], base64[KEY_TEXT_SIZE + 2];
    unsigned count = clean_word(text, size, key, KEY_SIZE);

    put_hex(key, false, hex);
    count += clean_word(text, size, hex, 2 * KEY_SIZE);
    put_hex(key, true, hex);
    count += clean_word(text, size, hex, 2 * KEY_SIZE);
    (void)EVP_EncodeBlock((uint8_t *)base64, key, KEY_SIZE);
    count += clean_word(text, size, base64, KEY_TEXT_SIZE - 1);
    OPENSSL_cleanse(hex, sizeof hex);
    OPENSSL_cleanse(base64, sizeof base64);
    return count;
}

unsigned scrub_clean(const struct scrub *s, char *text, size_t size)
{
    unsigned count = 0;

    for (unsigned i = 0; i < s->count; i++)
        count += clean_key(text, size, s->keys[i]);
    for (unsigned i = 0; i < s->words_count; i++)
        count += clean_word(text, size, s->words[i], strlen(s->words[i]));
    return count + clean_pem(text, size) + clean_base64(text, size);
}
