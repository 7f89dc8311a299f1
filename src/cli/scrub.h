/* scrub.h - secrets out of texts that leave the machine.
 *
 * Blotted out are private keys in PEM, every word that could be a key of a mesh
 * (44 characters of base64, wherever it stands), and the keys of a given
 * keyring in whatever form they come: base64, hexadecimal, as bytes; and given
 * words. */
#ifndef ARGUS_CLI_SCRUB_H
#define ARGUS_CLI_SCRUB_H

#include <stddef.h>
#include <stdint.h>

#define SCRUB_KEYS_MAX 64
#define SCRUB_WORDS_MAX 32
#define SCRUB_WORD_SIZE 128

struct scrub {
    uint8_t keys[SCRUB_KEYS_MAX][32];
    unsigned count;
    char words[SCRUB_WORDS_MAX][SCRUB_WORD_SIZE];
    unsigned words_count;
};

/** Take in the keys of a keyring file, as far as it can be read. */
void scrub_learn(struct scrub *s, const char *path);

/** The same for one line of such a file. */
void scrub_learn_line(struct scrub *s, const char *line);

/** Take in a word that is a secret as it stands. Those of less than four
 *  characters are no secrets, and stand everywhere. */
void scrub_learn_word(struct scrub *s, const char *word);

/** Blot out in place: the text keeps its size. @return places found. */
unsigned scrub_clean(const struct scrub *s, char *text, size_t size);

/** Forget the keys. */
void scrub_close(struct scrub *s);

#endif
