#include "argus_config.h" /* GNU extensions */

#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

struct screen_size screen_size(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 ||
        size.ws_row == 0)
        return (struct screen_size){.rows = 24, .columns = 80};
    return (struct screen_size){.rows = size.ws_row, .columns = size.ws_col};
}

size_t screen_line_size(const char *text)
{
    return strcspn(text, "\n");
}

/* Bytes of the colour that begins at text; 0: none does. */
static size_t color_size(const char *text, size_t size)
{
    if (size < 3 || text[0] != '\033' || text[1] != '[')
        return 0;
    size_t used = 2 + strspn(text + 2, "0123456789;");
    return used < size && text[used] == 'm' ? used + 1 : 0;
}

void screen_put_line(FILE *out, const char *line, size_t size, int columns)
{
    int used = 0;
    bool has_color = false;

    for (size_t i = 0; i < size;) {
        size_t length = color_size(line + i, size - i);
        if (length > 0) {
            has_color = true;
        } else {
            wchar_t c;
            mbstate_t state = {0};
            length = mbrtowc(&c, line + i, size - i, &state);
            bool is_text = length > 0 && length <= size - i;
            int width = is_text ? wcwidth(c) : 1;
            if (!is_text)
                length = 1;
            if (columns > 0 && used + (width > 0 ? width : 0) > columns)
                break;
            used += width > 0 ? width : 0;
        }
        (void)fwrite(line + i, 1, length, out);
        i += length;
    }
    if (has_color)
        fputs("\033[0m", out);
    if (columns == 0 || used < columns) /* else it would clear the last one */
        fputs("\033[K", out);
}

/* ------------------------------------------------- the whole screen */

#define ENTER "\033[?1049h\033[?25l\033[H\033[2J"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

static struct {
    struct termios before, during;
    volatile sig_atomic_t is_taken;
    volatile sig_atomic_t is_resized;
} at;

/* Only what signal-safety(7) allows: handlers call these two. */
static void enter(void)
{
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &at.during);
    ssize_t n = write(STDOUT_FILENO, ENTER, sizeof ENTER - 1);
    (void)n;
    at.is_taken = 1;
}

void screen_end(void)
{
    if (!at.is_taken)
        return;
    at.is_taken = 0;
    ssize_t n = write(STDOUT_FILENO, LEAVE, sizeof LEAVE - 1);
    (void)n;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &at.before);
}

/* Die of it, as if nobody had asked. */
static void on_end(int number)
{
    screen_end();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void on_stop(int number)
{
    int error = errno;

    (void)number;
    screen_end();
    (void)kill(getpid(), SIGSTOP); /* the shell has the terminal meanwhile */
    enter();
    at.is_resized = 1;
    errno = error;
}

static void on_resize(int number)
{
    (void)number;
    at.is_resized = 1;
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    /* No SA_RESTART: a wait for keys ends, and the screen is painted anew. */
    (void)sigfillset(&action.sa_mask);
    (void)sigaction(number, &action, NULL);
}

bool screen_begin(void)
{
    static const int ends[] = {SIGINT,  SIGTERM, SIGHUP, SIGQUIT, SIGPIPE,
                               SIGABRT, SIGSEGV, SIGBUS, SIGFPE};

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
        tcgetattr(STDIN_FILENO, &at.before) != 0)
        return false;
    at.during = at.before;
    at.during.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    at.during.c_cc[VMIN] = 1;
    at.during.c_cc[VTIME] = 0;
    (void)atexit(screen_end);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        handle(ends[i], on_end);
    handle(SIGTSTP, on_stop);
    handle(SIGWINCH, on_resize);
    enter();
    return true;
}

/* ----------------------------------------------------------------- keys */

/* The sequence behind an ESC that terminals send for the key. */
static const struct {
    const char *sequence;
    enum screen_key key;
} sequences[] = {
    {"[A", KEY_UP},         {"OA", KEY_UP},    {"[B", KEY_DOWN},
    {"OB", KEY_DOWN},       {"[C", KEY_RIGHT}, {"OC", KEY_RIGHT},
    {"[D", KEY_LEFT},       {"OD", KEY_LEFT},  {"[5~", KEY_PAGE_UP},
    {"[6~", KEY_PAGE_DOWN}, {"[H", KEY_HOME},  {"OH", KEY_HOME},
    {"[1~", KEY_HOME},      {"[F", KEY_END},   {"OF", KEY_END},
    {"[4~", KEY_END},
};

static enum screen_key key_of_sequence(const char *text)
{
    for (size_t i = 0; i < sizeof sequences / sizeof sequences[0]; i++)
        if (strcmp(text, sequences[i].sequence) == 0)
            return sequences[i].key;
    return KEY_OTHER;
}

static enum screen_key key_of_char(char c)
{
    switch (c) {
    case 'q':
    case 'Q': return KEY_QUIT;
    case 'k': return KEY_UP;
    case 'j': return KEY_DOWN;
    case 'h': return KEY_LEFT;
    case 'l':
    case '\t': return KEY_RIGHT;
    case ' ': return KEY_PAGE_DOWN;
    case 'b': return KEY_PAGE_UP;
    default: return KEY_OTHER;
    }
}

static bool has_input(int wait_ms)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    return poll(&input, 1, wait_ms) > 0;
}

/* What follows an ESC comes at once, or it was the key Esc. */
static enum screen_key read_sequence(void)
{
    char text[8] = "";

    for (size_t used = 0; used + 1 < sizeof text && has_input(20); used++) {
        if (read(STDIN_FILENO, text + used, 1) != 1)
            return KEY_QUIT;
        char c = text[used];
        if (used > 0 && ((c >= 'A' && c <= 'Z') || c == '~'))
            break;
    }
    return key_of_sequence(text);
}

enum screen_key screen_key(int wait_ms)
{
    char c;

    if (at.is_resized || !has_input(wait_ms)) {
        at.is_resized = 0;
        return KEY_NONE;
    }
    ssize_t n = read(STDIN_FILENO, &c, 1);
    if (n < 0 && errno == EINTR)
        return KEY_NONE;
    if (n != 1)
        return KEY_QUIT;
    return c == '\033' ? read_sequence() : key_of_char(c);
}
