#include "argus_config.h" /* GNU extensions */

#include "cli/conf.h"

#include <ctype.h>
#include <dirent.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

struct reader {
    conf_on_option on_option;
    void *context;
    char path[512]; /* of blocks */
    unsigned files, depth;
    struct argus_error *err;
};

static int read_file(struct reader *r, const char *path);

/* A word ends at a blank or, inside a tag, at '>'; "..." holds anything, with
 * \" and \\ in it. The text is changed in place.
 * @return false: a quote is not closed. */
static bool take_word(char **text, char **word)
{
    char *in = *text, *out;

    if (*in != '"') {
        *word = in;
        while (*in != '\0' && !isspace((unsigned char)*in))
            in++;
        *text = in + (*in != '\0');
        *in = '\0';
        return true;
    }
    *word = out = ++in;
    while (*in != '\0' && *in != '"') {
        if (*in == '\\' && in[1] != '\0')
            in++;
        *out++ = *in++;
    }
    if (*in == '\0')
        return false;
    *out = '\0';
    *text = in + 1;
    return true;
}

/* @return words found; -1: a quote is not closed. */
static int split(char *text, char **words, int max)
{
    int count = 0;

    for (;;) {
        text += strspn(text, " \t\r\n");
        if (*text == '\0' || *text == '#' || count == max)
            return count;
        if (!take_word(&text, &words[count]))
            return -1;
        count++;
    }
}

static int complain(struct reader *r, const char *file, unsigned line,
                    const char *what)
{
    return argus_fail(r->err, ARGUS_ECORRUPT, "%s, line %u: %s", file, line,
                      what);
}

/* ------------------------------------------------------------- includes */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int read_any(struct reader *r, const char *path);

static int read_folder(struct reader *r, const char *path)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, is_shown, by_name);
    int rc = count < 0 ? argus_fail_errno(r->err, "read %s", path) : ARGUS_OK;

    for (int i = 0; i < count; i++) {
        char name[1024];
        int length =
            snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        if (rc == ARGUS_OK && length > 0 && (size_t)length < sizeof name)
            rc = read_any(r, name);
        free(names[i]);
    }
    free(names);
    return rc;
}

static int read_any(struct reader *r, const char *path)
{
    struct stat st;

    if (++r->files > CONF_FILES_MAX)
        return argus_fail(r->err, ARGUS_ECORRUPT,
                          "%s: more than %d files are included", path,
                          CONF_FILES_MAX);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return read_folder(r, path);
    return read_file(r, path);
}

/* As collectd: a pattern that means no file is no mistake of ours to report. */
static int include(struct reader *r, const char *pattern)
{
    glob_t found;
    int rc = ARGUS_OK;

    if (r->depth >= CONF_DEPTH_MAX)
        return argus_fail(r->err, ARGUS_ECORRUPT,
                          "%s: files include files too deeply", pattern);
    if (glob(pattern, 0, NULL, &found) != 0)
        return ARGUS_OK;
    for (size_t i = 0; i < found.gl_pathc && rc == ARGUS_OK; i++)
        rc = read_any(r, found.gl_pathv[i]);
    globfree(&found);
    return rc;
}

/* ---------------------------------------------------------------- lines */

/* "<Plugin "argus">" or "</Plugin>". */
static int on_tag(struct reader *r, char *text, const char *file, unsigned line)
{
    char *words[3];
    char *end = strrchr(text, '>');
    char name[256];

    if (end == NULL)
        return complain(r, file, line, "a '>' is missing");
    *end = '\0';
    if (text[0] == '/') {
        char *slash = strrchr(r->path, '/');
        if (r->path[0] == '\0')
            return complain(r, file, line, "closes a block that is not open");
        if (slash != NULL)
            *slash = '\0';
        else
            r->path[0] = '\0';
        return ARGUS_OK;
    }
    int count = split(text, words, 2);
    if (count < 1)
        return complain(r, file, line, "a block without a name");
    (void)snprintf(name, sizeof name, "%s%s%s", words[0], count > 1 ? " " : "",
                   count > 1 ? words[1] : "");
    for (char *c = name; *c != '\0'; c++)
        *c = *c == '/' ? '|' : *c; /* '/' is between blocks */
    size_t used = strlen(r->path);
    int length = snprintf(r->path + used, sizeof r->path - used, "%s%s",
                          used > 0 ? "/" : "", name);
    if (length < 0 || (size_t)length >= sizeof r->path - used)
        return complain(r, file, line, "blocks within blocks, too deep");
    return ARGUS_OK;
}

static int on_line(struct reader *r, char *text, const char *file,
                   unsigned line)
{
    char *words[CONF_VALUES_MAX + 1];

    text += strspn(text, " \t\r\n");
    if (*text == '\0' || *text == '#')
        return ARGUS_OK;
    if (*text == '<')
        return on_tag(r, text + 1, file, line);
    int count = split(text, words, CONF_VALUES_MAX + 1);
    if (count < 0)
        return complain(r, file, line, "a quote is not closed");
    if (count == 0)
        return ARGUS_OK;
    if (strcasecmp(words[0], "Include") == 0 && count > 1)
        return include(r, words[1]);
    struct conf_option option = {.path = r->path,
                                 .key = words[0],
                                 .count = (unsigned)count - 1,
                                 .file = file,
                                 .line = line};
    for (int i = 1; i < count; i++)
        option.values[i - 1] = words[i];
    r->on_option(r->context, &option);
    return ARGUS_OK;
}

/* A backslash at the end of a line joins it with the next. */
static bool is_continued(const char *text, size_t size)
{
    return size >= 2 && text[size - 1] == '\n' && text[size - 2] == '\\';
}

static int read_file(struct reader *r, const char *path)
{
    char text[CONF_LINE_MAX];
    FILE *f = fopen(path, "re");
    unsigned line = 0;
    size_t used = 0;
    int rc = ARGUS_OK;

    if (f == NULL)
        return argus_fail_errno(r->err, "read %s", path);
    r->depth++;
    while (rc == ARGUS_OK &&
           fgets(text + used, (int)(sizeof text - used), f) != NULL) {
        line++;
        used += strlen(text + used);
        if (used + 1 >= sizeof text) {
            rc = complain(r, path, line, "longer than a line may be");
        } else if (is_continued(text, used)) {
            used -= 2;
        } else {
            rc = on_line(r, text, path, line);
            used = 0;
        }
    }
    if (rc == ARGUS_OK && ferror(f))
        rc = argus_fail_errno(r->err, "read %s", path);
    (void)fclose(f);
    r->depth--;
    return rc;
}

int conf_read(const char *path, conf_on_option on_option, void *context,
              struct argus_error *err)
{
    struct reader r = {.on_option = on_option, .context = context, .err = err};

    return read_file(&r, path);
}
