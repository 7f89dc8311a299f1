#include "argus_config.h" /* GNU extensions */

#include "cli/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/memory.h"

#define GAP 2
#define COLUMN_MIN 4
#define COLUMN_LEGIBLE 12 /* no column needs to be cut to less than that */

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

/* Bytes of the printable character at text; 0: it must be escaped. Most are
 * ASCII, and there are tables of 10,000 rows. */
static size_t printable(const char *text, size_t size, int *width)
{
    wchar_t c;

    if (*text >= ' ' && *text <= '~') {
        *width = 1;
        return 1;
    }
    mbstate_t state = {0};
    size_t length = mbrtowc(&c, text, size, &state);

    if (length == 0 || length > size) /* invalid or cut short */
        return 0;
    *width = wcwidth(c);
    return *width < 0 || is_direction_mark(c) ? 0 : length;
}

/* What is shown as it is, a column a byte; *size is how many. Nearly all text
 * is such. */
static bool is_plain(const char *text, size_t *size)
{
    const char *end = text;

    while (*end >= ' ' && *end <= '~')
        end++;
    *size = (size_t)(end - text);
    return *end == '\0';
}

char *table_escape(const char *text)
{
    size_t size;

    if (is_plain(text, &size))
        return strdup(text);
    size = strlen(text);
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
    size_t size;
    int columns;

    if (is_plain(text, &size))
        return (int)size;
    (void)head_size(text, -1, &columns);
    return columns;
}

int table_put(FILE *out, const char *text, int width)
{
    int columns;
    const char *mark = MB_CUR_MAX > 1 ? "\xe2\x80\xa6" : "~";

    int whole = table_width(text);
    if (width <= 0 || whole <= width) {
        fputs(text, out);
        return whole;
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

void table_cell(struct table *t, enum table_color color, const char *format,
                ...)
{
    va_list ap;
    char few[128] = "", *text = few;

    va_start(ap, format);
    int size = vsnprintf(few, sizeof few, format, ap);
    va_end(ap);
    if (size >= (int)sizeof few) { /* seldom */
        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
            text = NULL;
        va_end(ap);
    }
    (void)memory_must(text);
    t->cells = memory_grow(t->cells, t->count, &t->room, sizeof *t->cells);
    struct cell *cell = &t->cells[t->count++];
    cell->text = memory_must(table_escape(text));
    cell->width = table_width(cell->text);
    cell->color = color;
    if (text != few)
        free(text);
}

size_t table_rows(const struct table *t)
{
    return t->count / t->columns;
}

static int by_text(const void *a, const void *b, void *columns)
{
    const struct cell *left = a, *right = b;
    int order = 0;

    for (size_t c = 0; c < *(const size_t *)columns && order == 0; c++)
        order = strverscmp(left[c].text, right[c].text);
    return order;
}

void table_sort(struct table *t, size_t columns)
{
    if (t->count > 0)
        qsort_r(t->cells, table_rows(t), t->columns * sizeof *t->cells, by_text,
                &columns);
}

/* ------------------------------------------------------------- printing */

/* The marks in front of a title; see table.h. */
static bool has_mark(const char *title, char mark)
{
    for (; *title == '>' || *title == '?'; title++)
        if (*title == mark)
            return true;
    return false;
}

static bool is_right(const char *title)
{
    return has_mark(title, '>');
}

static const char *title_text(const char *title)
{
    return title + strspn(title, ">?");
}

/* The columns that are printed, in order, and how wide. */
struct layout {
    size_t columns[TABLE_COLUMNS_MAX];
    int widths[TABLE_COLUMNS_MAX]; /* by column */
    size_t count;
};

static void measure(const struct table *t, struct layout *l)
{
    l->count = t->columns;
    for (size_t c = 0; c < t->columns; c++) {
        l->columns[c] = c;
        l->widths[c] = table_width(title_text(t->titles[c]));
        for (size_t i = c; i < t->count; i += t->columns)
            if (t->cells[i].width > l->widths[c])
                l->widths[c] = t->cells[i].width;
    }
}

/* Columns of the terminal, were none wider than `most`. */
static int total_width(const struct layout *l, int most)
{
    int total = -GAP;

    for (size_t i = 0; i < l->count; i++) {
        int width = l->widths[l->columns[i]];
        total += (width < most ? width : most) + GAP;
    }
    return total;
}

/* The rightmost of those that may be; @return false: there is none. */
static bool leave_one_out(const struct table *t, struct layout *l)
{
    for (size_t i = l->count; i-- > 1;) {
        if (!has_mark(t->titles[l->columns[i]], '?'))
            continue;
        memmove(&l->columns[i], &l->columns[i + 1],
                (l->count - i - 1) * sizeof l->columns[0]);
        l->count--;
        return true;
    }
    return false;
}

/* What each column needs; then without those that may be left out, as long as
 * the others would be cut to pieces; then less for the widest until all fit. */
static void fit(const struct table *t, int width, struct layout *l)
{
    measure(t, l);
    if (width <= 0)
        return;
    while (total_width(l, COLUMN_LEGIBLE) > width && leave_one_out(t, l))
        continue;
    while (total_width(l, width) > width) {
        size_t widest = l->columns[0];
        for (size_t i = 1; i < l->count; i++)
            if (l->widths[l->columns[i]] > l->widths[widest])
                widest = l->columns[i];
        if (l->widths[widest] <= COLUMN_MIN)
            break;
        l->widths[widest]--;
    }
    while (l->count > 1 && total_width(l, width) > width)
        l->count--; /* so narrow that even the shortest do not fit */
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

static void put_titles(const struct table *t, const struct layout *l, FILE *out,
                       bool color)
{
    size_t count = l->count;

    while (count > 1 && title_text(t->titles[l->columns[count - 1]])[0] == '\0')
        count--;
    for (size_t i = 0; i < count; i++) {
        const char *title = t->titles[l->columns[i]];
        struct cell cell = {.text = (char *)(uintptr_t)title_text(title),
                            .width = table_width(title_text(title)),
                            .color = COLOR_FAINT};
        put_cell(out, &cell, l->widths[l->columns[i]], is_right(title),
                 i + 1 == count, color);
    }
}

/* Up to the last cell that is not empty; at least one. */
static void put_row(const struct table *t, const struct layout *l,
                    const struct cell *row, FILE *out, bool color)
{
    size_t count = l->count;

    while (count > 1 && row[l->columns[count - 1]].text[0] == '\0')
        count--;
    for (size_t i = 0; i < count; i++) {
        size_t c = l->columns[i];
        put_cell(out, &row[c], l->widths[c], is_right(t->titles[c]),
                 i + 1 == count, color);
    }
}

void table_print(const struct table *t, FILE *out, int width, bool color)
{
    struct layout layout;

    fit(t, width, &layout);
    put_titles(t, &layout, out, color);
    for (size_t i = 0; i < table_rows(t); i++)
        put_row(t, &layout, &t->cells[i * t->columns], out, color);
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
    char *safe = memory_must(table_escape(text));
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
