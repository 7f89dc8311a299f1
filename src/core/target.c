#include "core/target.h"

#include <string.h>

#include "base/text.h"

/* A stretch of the expression, not terminated. */
struct span {
    const char *text;
    size_t size;
};

/** Longest term that is compared; an expression is shorter than 512. */
#define TERM_SIZE 512

/* ----------------------------------------------------------------- globs */

/* The "]" that closes a set begun at p ('['); NULL: none. One directly behind
 * the "[" or "[!" is a member. */
static const char *set_end(const char *p)
{
    p += p[1] == '!' ? 2 : 1;
    return p[0] == '\0' ? NULL : strchr(p + 1, ']');
}

static bool set_has(const char *p, const char *end, char c)
{
    bool is_negated = p[1] == '!', has = false;

    for (p += is_negated ? 2 : 1; p < end; p++) {
        if (p + 2 < end && p[1] == '-') {
            has |= (unsigned char)p[0] <= (unsigned char)c &&
                   (unsigned char)c <= (unsigned char)p[2];
            p += 2;
        } else {
            has |= *p == c;
        }
    }
    return has != is_negated;
}

/* Does the pattern's first element take this character? @return where the
 * next element begins, NULL: no. */
static const char *take_one(const char *pattern, char c)
{
    const char *end;

    if (c == '\0' || pattern[0] == '\0')
        return NULL;
    if (pattern[0] == '?')
        return pattern + 1;
    if (pattern[0] == '[' && (end = set_end(pattern)) != NULL)
        return set_has(pattern, end, c) ? end + 1 : NULL;
    return pattern[0] == c ? pattern + 1 : NULL;
}

/* Only the last "*" is ever tried again: whatever an earlier one could take
 * more, the later can take as well. */
bool target_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *again = NULL, *next;

    for (;;) {
        if (*pattern == '*') {
            star = ++pattern;
            again = text;
        } else if (*pattern == '\0' && *text == '\0') {
            return true;
        } else if ((next = take_one(pattern, *text)) != NULL) {
            pattern = next;
            text++;
        } else if (star != NULL && *again != '\0') {
            pattern = star;
            text = ++again;
        } else {
            return false;
        }
    }
}

static bool glob_is_sound(const char *pattern)
{
    for (; *pattern != '\0'; pattern++)
        if (*pattern == '[' && (pattern = set_end(pattern)) == NULL)
            return false;
    return true;
}

/* ----------------------------------------------------------------- terms */

/* The next stretch up to one of the separators; *at is moved behind it. A set
 * of a glob may hold separators. */
static struct span next_part(const char **at, const char *separators)
{
    const char *begin = *at, *p = begin, *end;

    while (*p != '\0' && strchr(separators, *p) == NULL) {
        if (*p == '[' && (end = set_end(p)) != NULL)
            p = end;
        p++;
    }
    *at = *p == '\0' ? NULL : p + 1;
    return (struct span){begin, (size_t)(p - begin)};
}

static struct span trim(struct span s)
{
    while (s.size > 0 && s.text[0] == ' ') {
        s.text++;
        s.size--;
    }
    while (s.size > 0 && s.text[s.size - 1] == ' ')
        s.size--;
    return s;
}

static bool copy_term(struct span s, char out[TERM_SIZE])
{
    if (s.size >= TERM_SIZE)
        return false;
    memcpy(out, s.text, s.size);
    out[s.size] = '\0';
    return true;
}

static const char *behind(const char *term, const char *head)
{
    size_t size = strlen(head);
    return strncmp(term, head, size) == 0 ? term + size : NULL;
}

/* @return what is wrong with it, NULL: nothing. */
static const char *term_fault(const char *term)
{
    const char *rest, *equals;

    if (term[0] == '\0')
        return "there is nothing here";
    if (strcmp(term, "*") == 0)
        return NULL;
    if ((rest = behind(term, "role=")) != NULL)
        return strcmp(rest, "agent") == 0 || strcmp(rest, "aggregator") == 0
                   ? NULL
                   : "a role is agent or aggregator";
    if ((rest = behind(term, "zone=")) != NULL)
        return rest[0] == '\0' ? "a zone is missing" : NULL;
    if ((rest = behind(term, "tag:")) != NULL) {
        equals = strchr(rest, '=');
        if (equals == NULL || equals == rest)
            return "a tag is written tag:KEY=VALUE";
        rest = equals + 1;
    } else if ((rest = behind(term, "name=")) == NULL) {
        return "a term is *, name=GLOB, zone=PREFIX, role=ROLE or "
               "tag:KEY=VALUE";
    } else if (rest[0] == '\0') {
        return "a name is missing";
    }
    return glob_is_sound(rest) ? NULL : "a [ without its ]";
}

/* A path-wise prefix: "eu1" means "eu1" and what is below it. */
static bool zone_is_below(const char *zone, const char *prefix)
{
    size_t size = strlen(prefix);

    while (size > 0 && prefix[size - 1] == '/')
        size--;
    return strncmp(zone, prefix, size) == 0 &&
           (zone[size] == '\0' || zone[size] == '/');
}

static bool has_tag(const char *term, const struct target_node *node)
{
    const char *equals = strchr(term, '=');
    size_t size = (size_t)(equals - term);

    for (uint32_t i = 0; i < node->tags_count; i++) {
        const argus_Tag *tag = &node->tags[i];
        if (strncmp(tag->key, term, size) == 0 && tag->key[size] == '\0' &&
            target_glob(equals + 1, tag->value))
            return true;
    }
    return false;
}

static bool term_matches(struct span span, const struct target_node *node)
{
    char term[TERM_SIZE];
    const char *rest;

    if (!copy_term(span, term) || term_fault(term) != NULL)
        return false;
    if (strcmp(term, "*") == 0)
        return true;
    if ((rest = behind(term, "name=")) != NULL)
        return target_glob(rest, node->name);
    if ((rest = behind(term, "zone=")) != NULL)
        return zone_is_below(node->zone, rest);
    if ((rest = behind(term, "role=")) != NULL)
        return (strcmp(rest, "aggregator") == 0) ==
               (node->role == argus_Role_ROLE_AGGREGATOR);
    return has_tag(behind(term, "tag:"), node);
}

/* ----------------------------------------------------------- expressions */

int target_check(const char *expression, struct argus_error *err)
{
    char term[TERM_SIZE], shown[TERM_SIZE];

    for (const char *at = expression; at != NULL;) {
        const char *begin = at;
        struct span s = trim(next_part(&at, ",;"));
        const char *fault = copy_term(s, term) ? term_fault(term) : "too long";
        if (fault == NULL)
            continue;
        text_clean_word(shown, sizeof shown, term);
        return argus_fail(err, ARGUS_EINVAL,
                          "target: \"%.200s\" at character %zu: %s", shown,
                          (size_t)(begin - expression) + 1, fault);
    }
    return ARGUS_OK;
}

/* The terms are looked at one by one: a "," carries the result so far on, a
 * ";" begins anew. */
bool target_matches(const char *expression, const struct target_node *node)
{
    bool all = true;

    if (target_check(expression, NULL) != ARGUS_OK)
        return false;
    for (const char *at = expression; at != NULL;) {
        struct span s = next_part(&at, ",;");
        all = all && term_matches(trim(s), node);
        if (s.text[s.size] == ',')
            continue;
        if (all)
            return true;
        all = true;
    }
    return false;
}

bool target_matches_record(const char *expression,
                           const argus_NodeRecord *record)
{
    const struct target_node node = {record->name, record->zone, record->role,
                                     record->tags, record->tags_count};

    return target_matches(expression, &node);
}
