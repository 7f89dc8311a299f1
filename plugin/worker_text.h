/* worker_text.h - the text of a bundle, from a descriptor of the daemon's to
 * one that nobody can change any more: what is vetted is what is run. */
#ifndef ARGUS_PLUGIN_WORKER_TEXT_H
#define ARGUS_PLUGIN_WORKER_TEXT_H

#include <stddef.h>
#include <sys/stat.h>

#include "base/status.h"

#define TEXT_BUNDLE_WORD "@BUNDLE@"

struct worker_text {
    char *bytes; /* with a NUL behind them */
    size_t size;
};

/** Read all there is, from the start. @retval ARGUS_EIO, ARGUS_ENOMEM,
 *  ARGUS_EDENIED (more than size_max). */
int text_read(int fd, size_t size_max, struct worker_text *out,
              struct argus_error *err);

/** Put the folder in place of each @BUNDLE@. An empty folder: a bundle without
 *  files. @retval ARGUS_EDENIED  the result is too large, or there are no files
 *  but @BUNDLE@ is named. */
int text_replace(struct worker_text *text, const char *folder, size_t size_max,
                 struct argus_error *err);

/** Copy into a sealed memfd. @return its descriptor, or -1 with err. */
int text_seal(const struct worker_text *text, struct argus_error *err);

void text_free(struct worker_text *text);

/**
 * How a process without rights spells the bundle's folder: as it is, or, when a
 * folder above may not be entered, by way of the current folder, which the
 * daemon entered before. When neither leads there, it stays as it is.
 * @param status  of the folder, taken while the process had its rights.
 */
void text_spell_folder(const char *folder, const struct stat *status, char *out,
                       size_t out_size);

#endif
