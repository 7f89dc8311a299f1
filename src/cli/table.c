#include "argus_config.h" /* GNU extensions */

#include "cli/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define GAP 2
#define COLUMN_MIN 4

struct cell {
    char *text; /* escaped */
    int width;
    enum table_color color;
};

struct table {
    const char *const *titles;
    size_t columns;
    struct cell *cells; /* row after row */
    size_t count;
    size_t room;
};

/* ------------------------------------------------------------ safe text */

/* Zero-width marks that change the order in which text is shown. */
static bool is_direction_mark(wchar_t c)
{
    return c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Bytes of the printable character at text; 0: it must be escaped. */
static size_t printable(const char *text, size_t size, int *width)
{
    wchar_t c;
    mbstate_t state = {0};
    size_t length = mbrtowc(&c, text, size, &state);

    if (length == 0 || length > size) /* invalid or cut short */
        return 0;
    *width = wcwidth(c);
    return *width < 0 || is_direction_mark(c) ? 0 : length;
}

char *table_escape(const char *text)
{
    size_t size = strlen(text);
    char *out = malloc(4 * size + 1);
    size_t used = 0;

    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < size;) {
        int width;
        size_t length = printable(text + i, size - i, &width);
        if (length > 0) {
            memcpy(out + used, text + i, length);
            used += length;
            i += length;
        } else {
            (void)snprintf(out + used, 5, "\\x%02x", (unsigned char)text[i]);
            used += 4;
            i++;
        }
    }
    out[used] = '\0';
    return out;
}

/* Bytes of the head of text that take at most `room` columns (room < 0: no
 * limit); *columns is what they take. */
static size_t head_size(const char *text, int room, int *columns)
{
    size_t size = strlen(text);
    size_t used = 0;

    *columns = 0;
    while (used < size) {
        int width = 1;
        size_t length = printable(text + used, size - used, &width);
        if (length == 0)
            length = 1;
        if (room >= 0 && *columns + width > room)
            break;
        *columns += width;
        used += length;
    }
    return used;
}

int table_width(const char *text)
{
    int columns;
    (void)head_size(text, -1, &columns);
    return columns;
}

int table_put(FILE *out, const char *text, int width)
{
    int columns;
    const char *mark = MB_CUR_MAX > 1 ? "\xe2\x80\xa6" : "~";

    if (width <= 0 || table_width(text) <= width) {
        fputs(text, out);
        return table_width(text);
    }
    size_t size = head_size(text, width - 1, &columns);
    (void)fwrite(text, 1, size, out);
    fputs(mark, out);
    return columns + 1;
}

int table_terminal_width(FILE *out)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");

    if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 &&
        size.ws_col > 0)
        return size.ws_col;
    int width = columns != NULL ? atoi(columns) : 0;
    return width > 0 ? width : 0;
}

/* --------------------------------------------------------------- cells */

struct table *table_new(const char *const *titles)
{
    struct table *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->titles = titles;
    while (titles[t->columns] != NULL && t->columns < TABLE_COLUMNS_MAX)
        t->columns++;
    return t;
}

void table_free(struct table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i].text);
    free(t->cells);
    free(t);
}

/* A program of one question: without memory it says so and ends. */
static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("argusctl: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

void table_cell(struct table *t, enum table_color color, const char *format,
                ...)
{
    va_list ap;
    char *text = NULL;

    va_start(ap, format);
    if (vasprintf(&text, format, ap) < 0)
        text = NULL;
    va_end(ap);
    (void)must(text);
    if (t->count == t->room) {
        t->room = t->room == 0 ? 64 : 2 * t->room;
        t->cells = must(realloc(t->cells, t->room * sizeof *t->cells));
    }
    struct cell *cell = &t->cells[t->count++];
    cell->text = must(table_escape(text));
    cell->width = table_width(cell->text);
    cell->color = color;
    free(text);
}

size_t table_rows(const struct table *t)
{
    return t->count / t->columns;
}

/* ------------------------------------------------------------- printing */

static bool is_right(const char *title)
{
    return title[0] == '>';
}

static const char *title_text(const char *title)
{
    return is_right(title) ? title + 1 : title;
}

/* What each column needs, then less for the widest until all fit. */
static void fit(const struct table *t, int width, int *widths)
{
    int total = -GAP;

    for (size_t c = 0; c < t->columns; c++) {
        widths[c] = table_width(title_text(t->titles[c]));
        for (size_t i = c; i < t->count; i += t->columns)
            if (t->cells[i].width > widths[c])
                widths[c] = t->cells[i].width;
        total += widths[c] + GAP;
    }
    while (width > 0 && total > width) {
        size_t widest = 0;
        for (size_t c = 1; c < t->columns; c++)
            if (widths[c] > widths[widest])
                widest = c;
        if (widths[widest] <= COLUMN_MIN)
            break;
        widths[widest]--;
        total--;
    }
}

static void put_spaces(FILE *out, int count)
{
    for (int i = 0; i < count; i++)
        fputc(' ', out);
}

static const char *color_begin(enum table_color color)
{
    switch (color) {
    case COLOR_PLAIN: return "";
    case COLOR_GOOD: return "\033[32m";
    case COLOR_WARN: return "\033[33m";
    case COLOR_BAD: return "\033[31m";
    case COLOR_FAINT: return "\033[2m";
    }
    return "";
}

/* @param is_last  nothing follows on the line: no spaces at its end. */
static void put_cell(FILE *out, const struct cell *cell, int width,
                     bool to_right, bool is_last, bool color)
{
    int pad = width - (cell->width < width ? cell->width : width);
    bool paint = color && cell->color != COLOR_PLAIN;

    if (to_right)
        put_spaces(out, pad);
    if (paint)
        fputs(color_begin(cell->color), out);
    int used = table_put(out, cell->text, width);
    if (paint)
        fputs("\033[0m", out);
    if (!to_right && !is_last)
        put_spaces(out, width - used);
    if (is_last)
        fputc('\n', out);
    else
        put_spaces(out, GAP);
}

/* Cells of a row up to the last that is not empty; at least one. */
static size_t cells_filled(const struct cell *row, size_t shown)
{
    while (shown > 1 && row[shown - 1].text[0] == '\0')
        shown--;
    return shown;
}

/* So narrow a terminal that even the shortest columns do not fit: what is to
 * the right is left out rather than wrapped. */
static size_t columns_shown(const struct table *t, int width, const int *widths)
{
    int total = -GAP;

    for (size_t c = 0; c < t->columns; c++) {
        total += widths[c] + GAP;
        if (width > 0 && total > width)
            return c > 0 ? c : 1;
    }
    return t->columns;
}

void table_print(const struct table *t, FILE *out, int width, bool color)
{
    int widths[TABLE_COLUMNS_MAX];

    fit(t, width, widths);
    size_t shown = columns_shown(t, width, widths);
    size_t titled = shown;
    while (titled > 1 && title_text(t->titles[titled - 1])[0] == '\0')
        titled--;
    for (size_t c = 0; c < titled; c++) {
        const char *title = title_text(t->titles[c]);
        struct cell cell = {.text = (char *)(uintptr_t)title,
                            .width = table_width(title),
                            .color = COLOR_FAINT};
        put_cell(out, &cell, widths[c], is_right(t->titles[c]), c + 1 == titled,
                 color);
    }
    for (size_t i = 0; i < table_rows(t); i++) {
        const struct cell *row = &t->cells[i * t->columns];
        size_t filled = cells_filled(row, shown);
        for (size_t c = 0; c < filled; c++)
            put_cell(out, &row[c], widths[c], is_right(t->titles[c]),
                     c + 1 == filled, color);
    }
}

/* ------------------------------------------------------------ plain text */

void table_put_word(FILE *out, enum table_color color, bool has_color,
                    const char *word, int columns)
{
    if (has_color)
        fputs(color_begin(color), out);
    fputs(word, out);
    if (has_color && color != COLOR_PLAIN)
        fputs("\033[0m", out);
    put_spaces(out, columns - table_width(word));
}

/* Bytes of the first line of escaped text that has `room` columns: up to the
 * last space that fits, else (a long path) in the middle of the word. */
static size_t line_size(const char *text, int room)
{
    int columns;
    size_t size = head_size(text, room, &columns);
    size_t space = size;

    if (text[size] == '\0' || text[size] == ' ')
        return size;
    while (space > 0 && text[space] != ' ')
        space--;
    return space > 0 ? space : size > 0 ? size : 1;
}

void table_wrap(FILE *out, const char *text, int indent, int width)
{
    char *safe = must(table_escape(text));
    const char *rest = safe;
    int room = width <= 0 ? -1 : width > indent ? width - indent : 1;

    for (;;) {
        size_t size = line_size(rest, room);
        (void)fwrite(rest, 1, size, out);
        fputc('\n', out);
        rest += size;
        rest += strspn(rest, " ");
        if (*rest == '\0')
            break;
        put_spaces(out, indent);
    }
    free(safe);
}
