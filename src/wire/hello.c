#include "wire/hello.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "wire/frame.h"

/* Every source is cut to fit: the sizes are those of argus.options. */
static void copy(char *out, size_t out_size, const char *from)
{
    (void)snprintf(out, out_size, "%s", from);
}

void hello_build(const struct hello_facts *own, argus_LinkKind kind,
                 const struct node_id *expected, const char *observed,
                 argus_Hello *out)
{
    memset(out, 0, sizeof *out);
    out->protocol_min = ARGUS_PROTOCOL_MIN;
    out->protocol_max = ARGUS_PROTOCOL;
    copy(out->cluster, sizeof out->cluster, own->cluster);
    memcpy(out->id, own->id.bytes, NODE_ID_SIZE);
    if (expected != NULL) {
        out->expected_id.size = NODE_ID_SIZE;
        memcpy(out->expected_id.bytes, expected->bytes, NODE_ID_SIZE);
    }
    out->generation = own->generation;
    out->instance = own->instance;
    out->started_ms = own->started_ms;
    out->kind = kind;
    copy(out->name, sizeof out->name, own->name);
    copy(out->address, sizeof out->address, own->address);
    out->zone = own->zone;
    out->role = own->role;
    if (observed != NULL)
        copy(out->observed, sizeof out->observed, observed);
}

static argus_RefuseCode refuse(char text[HELLO_TEXT_SIZE],
                               argus_RefuseCode code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static argus_RefuseCode refuse(char text[HELLO_TEXT_SIZE],
                               argus_RefuseCode code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(text, HELLO_TEXT_SIZE, format, ap);
    va_end(ap);
    return code;
}

static bool kind_is_known(argus_LinkKind kind)
{
    return kind >= argus_LinkKind_LINK_MESH &&
           kind <= argus_LinkKind_LINK_BUNDLE;
}

static argus_RefuseCode check_expected(const struct hello_facts *own,
                                       const argus_Hello *hello,
                                       const struct node_id *expected,
                                       const char *where,
                                       char text[HELLO_TEXT_SIZE])
{
    struct node_id id = node_id_of(hello->id);
    char theirs[NODE_ID_TEXT_SIZE], wanted[NODE_ID_TEXT_SIZE];
    char name[sizeof hello->name];

    if (expected != NULL && !node_id_is_equal(expected, &id)) {
        node_id_format(expected, wanted);
        node_id_format(&id, theirs);
        text_clean_word(name, sizeof name, hello->name);
        return refuse(text, argus_RefuseCode_REFUSE_WRONG_ID,
                      "%s is node %.8s (\"%s\"), not %.8s as expected", where,
                      theirs, name, wanted);
    }
    if (hello->expected_id.size == 0)
        return argus_RefuseCode_REFUSE_NONE;
    if (hello->expected_id.size != NODE_ID_SIZE)
        return refuse(text, argus_RefuseCode_REFUSE_MALFORMED,
                      "the expected id from %s has %u bytes in place of %d",
                      where, (unsigned)hello->expected_id.size, NODE_ID_SIZE);

    struct node_id meant = node_id_of(hello->expected_id.bytes);
    if (!node_id_is_equal(&meant, &own->id)) {
        node_id_format(&meant, wanted);
        node_id_format(&own->id, theirs);
        return refuse(text, argus_RefuseCode_REFUSE_WRONG_ID,
                      "%s looks for node %.8s, this is %.8s (\"%s\")", where,
                      wanted, theirs, own->name);
    }
    return argus_RefuseCode_REFUSE_NONE;
}

static argus_RefuseCode check_same_id(const struct hello_facts *own,
                                      const argus_Hello *hello,
                                      argus_LinkKind kind, const char *where,
                                      char text[HELLO_TEXT_SIZE])
{
    if (memcmp(hello->id, own->id.bytes, NODE_ID_SIZE) != 0)
        return argus_RefuseCode_REFUSE_NONE;
    if (hello->instance == own->instance)
        return refuse(text, argus_RefuseCode_REFUSE_SELF,
                      "%s is this node itself", where);
    if (kind == argus_LinkKind_LINK_PROBE)
        return argus_RefuseCode_REFUSE_NONE;

    char name[sizeof hello->name];
    text_clean_word(name, sizeof name, hello->name);
    return refuse(text, argus_RefuseCode_REFUSE_CLONE,
                  "\"%s\" at %s has the id of \"%s\": a cloned StateDir?", name,
                  where, own->name);
}

argus_RefuseCode hello_check(const struct hello_facts *own,
                             const argus_Hello *hello, argus_LinkKind kind,
                             const struct node_id *expected, const char *where,
                             char text[HELLO_TEXT_SIZE])
{
    argus_RefuseCode code;

    text[0] = '\0';
    if (hello->protocol_min > ARGUS_PROTOCOL ||
        hello->protocol_max < ARGUS_PROTOCOL_MIN)
        return refuse(text, argus_RefuseCode_REFUSE_VERSION,
                      "protocol %" PRIu32 " to %" PRIu32 " at %s, ours is %d "
                      "to %d",
                      hello->protocol_min, hello->protocol_max, where,
                      ARGUS_PROTOCOL_MIN, ARGUS_PROTOCOL);
    if (strcmp(hello->cluster, own->cluster) != 0) {
        char theirs[sizeof hello->cluster];
        text_clean_word(theirs, sizeof theirs, hello->cluster);
        return refuse(text, argus_RefuseCode_REFUSE_CLUSTER,
                      "cluster \"%s\" at %s, ours is \"%s\"", theirs, where,
                      own->cluster);
    }
    if (!kind_is_known(kind))
        return refuse(text, argus_RefuseCode_REFUSE_MALFORMED,
                      "a link of kind %d from %s is not known here", (int)kind,
                      where);
    code = check_same_id(own, hello, kind, where, text);
    if (code != argus_RefuseCode_REFUSE_NONE)
        return code;
    return check_expected(own, hello, expected, where, text);
}

bool hello_address(const argus_Hello *hello, const char *observed_ip, char *out,
                   size_t out_size)
{
    char host[sizeof hello->address], port[32];

    out[0] = '\0';
    if (!text_split_address(hello->address, host, sizeof host, port,
                            sizeof port))
        return false;
    if (text_join_address(out, out_size, host[0] == '\0' ? observed_ip : host,
                          port))
        return true;
    out[0] = '\0';
    return false;
}
