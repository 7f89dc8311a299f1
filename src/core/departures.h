/* departures.h - who is suspect or offline, and who went together.
 *
 * A snapshot of the members (see members.h), made for one question. Words:
 *   group    a zone all of whose members went together: each within
 *            DEPARTURES_GAP_MS of another. Of nested zones that all went the
 *            outermost counts; its name is the longest prefix that those who
 *            went share. At least two nodes. Those that left for good, or had
 *            gone before the others, are not waited for.
 *   unsure   a member that may as well live, cut off from here: it fell silent
 *            (nobody saw its host refuse a dial, and it did not say that it
 *            stops) together with its group, or with at least
 *            DEPARTURES_MANY others that were a quarter of the mesh. Silence
 *            does not tell a partition from the death of a rack's power: what
 *            can be known is who was silent, and that it was at once. */
#ifndef ARGUS_CORE_DEPARTURES_H
#define ARGUS_CORE_DEPARTURES_H

#include "core/members.h"

#define DEPARTURES_GAP_MS 5000
#define DEPARTURES_MANY 3

struct departure {
    const struct member *member;
    uint32_t group; /* index; DEPARTURES_NO_GROUP: none */
    uint64_t
        began_us; /* Unix; when the first of its group, or it alone, went */
    bool is_unsure;
};

#define DEPARTURES_NO_GROUP UINT32_MAX

struct departure_group {
    const struct member *first; /* of it, by zone */
    size_t zone_length;         /* of its zone, the name */
    uint32_t count, unsure;
    uint64_t first_us, last_us; /* Unix; when they went */
};

struct departures {
    struct departure *list; /* groups together; by time of the first of each */
    uint32_t count;
    struct departure_group *groups;
    uint32_t groups_count;
    uint32_t unsure;
};

/** Members point into the table: use it before the table changes.
 *  @return false: no memory; out is empty then. departures_free() either way.
 */
bool departures_of(const struct members *t, struct departures *out);
void departures_free(struct departures *d);

/** Its zone, cut to fit. */
void departure_group_name(const struct departure_group *g, char *out,
                          size_t size);

#endif
