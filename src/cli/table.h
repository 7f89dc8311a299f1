/* table.h - text for people: aligned columns, no wider than the terminal.
 *
 * What comes from the mesh is hostile: control characters, bytes that are no
 * text and marks that turn the writing direction are shown as \xNN. */
#ifndef ARGUS_CLI_TABLE_H
#define ARGUS_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 12

enum table_color {
    COLOR_PLAIN,
    COLOR_GOOD,
    COLOR_WARN,
    COLOR_BAD,
    COLOR_FAINT,
};

struct table; /* opaque */

/** @param titles  ends with NULL, borrowed. Marks in front of a title: ">"
 *                 aligned to the right; "?" left out, the rightmost first,
 * where the terminal is too narrow for all.
 *  @return NULL: out of memory. */
struct table *table_new(const char *const *titles);
void table_free(struct table *t);

/** The next cell of the last row; NULL text counts as "". The first cell after
 *  a full row begins a new one. */
void table_cell(struct table *t, enum table_color color, const char *format,
                ...) __attribute__((format(printf, 3, 4)));

size_t table_rows(const struct table *t);

/** Order the rows by the text of their first columns; numbers within it count
 *  as numbers: web-2 comes before web-10. */
void table_sort(struct table *t, size_t columns);

/** @param width  columns of the terminal; 0: no limit. The widest columns are
 *                cut first. */
void table_print(const struct table *t, FILE *out, int width, bool color);

/** A safe copy of text on one line; free() it. NULL: out of memory. */
char *table_escape(const char *text);

/** Columns that escaped text takes. */
int table_width(const char *text);

/** Print escaped text, cut to `width` columns (0: no limit) and marked where
 *  it was cut. @return columns printed. */
int table_put(FILE *out, const char *text, int width);

/** Print text on as many lines as it needs, broken at spaces; what is no
 *  printable text is escaped. The lines behind the first begin with `indent`
 *  spaces, which the caller printed before the first (or as much else).
 *  @param width  as in table_print(). */
void table_wrap(FILE *out, const char *text, int indent, int width);

/** A word in colour, padded to so many columns. */
void table_put_word(FILE *out, enum table_color color, bool has_color,
                    const char *word, int columns);

/** Width of the terminal at out, or of $COLUMNS; 0 when there is no limit. */
int table_terminal_width(FILE *out);

#endif
