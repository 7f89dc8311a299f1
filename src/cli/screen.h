/* screen.h - the terminal: painting in place, and taking it over as a whole.
 *
 * Plain codes that every terminal of today knows (ECMA-48, and the alternate
 * screen of xterm), so no library of terminals is needed. */
#ifndef ARGUS_CLI_SCREEN_H
#define ARGUS_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct screen_size {
    int rows, columns;
};

/** Of the terminal at standard output; 24 by 80 when it does not tell. */
struct screen_size screen_size(void);

/** One line of text that may hold colours (ESC [ ... m), cut to so many columns
 *  (0: no limit), and the rest of the terminal's line cleared. No newline. */
void screen_put_line(FILE *out, const char *line, size_t size, int columns);

/** Bytes of the line that starts at text (without its newline). */
size_t screen_line_size(const char *text);

/* ------------------------------------------------- the whole screen */

/** Take the terminal over: other screen, no echo, keys one by one. However the
 *  program ends, but for SIGKILL, it is given back first; it is lent to the
 *  shell while the program is stopped (Ctrl-Z).
 *  @return false: standard input and output are no terminal. */
bool screen_begin(void);

/** Give it back; nothing when it is not taken. */
void screen_end(void);

enum screen_key {
    KEY_NONE, /* the time is up, or the terminal has another size */
    KEY_QUIT, /* q, or the terminal is gone */
    KEY_UP,
    KEY_DOWN,
    KEY_LEFT,
    KEY_RIGHT,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_HOME,
    KEY_END,
    KEY_OTHER,
};

/** Wait for a key, at most so many milliseconds. */
enum screen_key screen_key(int wait_ms);

#endif
