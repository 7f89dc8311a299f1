/* scrub.h - secrets out of texts that leave the machine.
 *
 * Blotted out are private keys in PEM, every word that could be a key of a mesh
 * (44 characters of base64, wherever it stands), and the keys of a given
 * keyring in whatever form they come: base64, hexadecimal, as bytes. */
#ifndef ARGUS_CLI_SCRUB_H
#define ARGUS_CLI_SCRUB_H

#include <stddef.h>
#include <stdint.h>

#define SCRUB_KEYS_MAX 64

struct scrub {
    uint8_t keys[SCRUB_KEYS_MAX][32];
    unsigned count;
};

/** Take in the keys of a keyring file, as far as it can be read. */
void scrub_learn(struct scrub *s, const char *path);

/** Blot out in place: the text keeps its size. @return places found. */
unsigned scrub_clean(const struct scrub *s, char *text, size_t size);

/** Forget the keys. */
void scrub_close(struct scrub *s);

#endif
