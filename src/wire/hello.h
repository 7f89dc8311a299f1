/* hello.h - the first frame in each direction: building it, and judging the
 * one that arrived. Pure; the daemon and the simulator use the same.
 *
 * The dialer speaks first and names whom it means to reach; whoever answers
 * judges that Hello, then sends its own. Both sides judge, so either can end
 * the link with a Refuse that says why. */
#ifndef ARGUS_WIRE_HELLO_H
#define ARGUS_WIRE_HELLO_H

#include <stddef.h>

#include "argus.pb.h"
#include "base/node_id.h"

/** Room for the sentence of a refusal; as Refuse.text in argus.options. */
#define HELLO_TEXT_SIZE 256

/* What a node says about itself on every link. */
struct hello_facts {
    char cluster[64];
    struct node_id id;
    uint32_t generation;
    uint64_t instance;
    uint64_t started_ms;
    char name[128];
    char address[144]; /* empty host: as observed */
    uint64_t zone;     /* zone_pack() */
    argus_Role role;
};

/**
 * Fill a Hello.
 * @param expected  whom the dialer means to reach; NULL: anyone, or an answer.
 * @param observed  the IP literal the receiver is seen at; NULL: not known.
 */
void hello_build(const struct hello_facts *own, argus_LinkKind kind,
                 const struct node_id *expected, const char *observed,
                 argus_Hello *out);

/**
 * Judge a Hello.
 * @param kind      what the link is for: the dialer's own wish, or hello->kind
 *                  for whoever accepted.
 * @param expected  whom we dialed; NULL: anyone, or we accepted.
 * @param where     address of the peer, for the text.
 * @param text      on a refusal: what is wrong, where, and what we are.
 * @return REFUSE_NONE, or the code for the Refuse. A clone (our id, another
 *         instance) on a LINK_PROBE passes: the probe wants to know of it.
 */
argus_RefuseCode hello_check(const struct hello_facts *own,
                             const argus_Hello *hello, argus_LinkKind kind,
                             const struct node_id *expected, const char *where,
                             char text[HELLO_TEXT_SIZE]);

/**
 * Where the sender of a Hello can be dialed: its address, with the host it is
 * observed at when it names none.
 * @param observed_ip  literal, without brackets.
 * @return false: neither form is an address; out is then empty.
 */
bool hello_address(const argus_Hello *hello, const char *observed_ip, char *out,
                   size_t out_size);

#endif
