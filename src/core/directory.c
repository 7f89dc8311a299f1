#include "core/directory.h"

#include <stdlib.h>

#include <pb_decode.h>

#include "base/text.h"
#include "core/directory_state.h"
#include "core/sums.h"

/* ---------------------------------------------------------------- life */

static bool options_are_sound(const struct engine_options *node,
                              const struct directory_listener *l)
{
    return node->suspect_ms > 0 && node->retain_offline_s > 0 &&
           node->tags_count <= sizeof node->tags / sizeof node->tags[0] &&
           node->seal.open != NULL && node->seal.close != NULL &&
           l->broadcast != NULL && l->stamp != NULL &&
           l->member_changed != NULL && l->member_forgotten != NULL &&
           l->generation_raised != NULL;
}

int directory_new(const struct engine_options *node, uint32_t members_max,
                  const struct directory_listener *listener,
                  struct directory **out)
{
    if (!options_are_sound(node, listener))
        return ARGUS_EINVAL;

    struct directory *d = calloc(1, sizeof *d);
    if (d == NULL)
        return ARGUS_ENOMEM;
    members_init(&d->members,
                 members_max == 0 ? DIRECTORY_MEMBERS_MAX : members_max,
                 TOMBSTONES_MAX);
    d->own.member = members_add(&d->members, &node->id);
    if (d->own.member == NULL) {
        members_close(&d->members);
        free(d);
        return ARGUS_ENOMEM;
    }
    d->own.member->is_self = true;
    d->seal = node->seal;
    d->listener = *listener;
    d->id = node->id;
    d->suspect_ms = node->suspect_ms;
    d->retain_ms = (uint64_t)node->retain_offline_s * 1000;
    prng_seed(&d->prng, node->seed ^ (uint64_t)DIRECTORY_DIAL_TAG << 56);
    TAILQ_INIT(&d->suspicions);
    TAILQ_INIT(&d->confirmed);
    own_init(d, node);
    sync_init(d);
    d->sweep_due_ms = UINT64_MAX;
    d->watch_due_ms = UINT64_MAX;
    d->failure.slow_due_ms = UINT64_MAX;
    *out = d;
    return ARGUS_OK;
}

void directory_free(struct directory *d)
{
    if (d == NULL)
        return;
    sync_close(d);
    forgotten_close(d);
    members_close(&d->members);
    free(d->aggregators);
    free(d);
}

/* Each input sets the time. A call that comes long after the deadline that was
 * asked for means that this process stood still; since one is always asked for
 * within suspect_ms / 2, that is noticed before anybody is blamed. */
static void enter(struct directory *d, uint64_t now_ms, uint64_t wall_us)
{
    uint64_t idle_ms =
        d->own.is_started ? directory_deadline_ms(d) : UINT64_MAX;

    if (idle_ms < d->now_ms)
        idle_ms = d->now_ms;
    d->now_ms = now_ms;
    d->wall_us = wall_us;
    if (idle_ms < now_ms && now_ms - idle_ms > d->suspect_ms / 2)
        failure_on_late(d, now_ms - idle_ms);
}

bool directory_load(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                    const struct node_id *id, const uint8_t *packed,
                    size_t size)
{
    argus_Statement statement;
    struct node_id author;

    enter(d, now_ms, wall_us);
    if (!d->seal.open(d->seal.context, packed, size, &statement, &author))
        return false;

    const struct node_id *subject = &author;
    struct node_id reported;
    if (statement.which_body == argus_Statement_report_tag) {
        reported = node_id_of(statement.body.report.subject);
        subject = &reported;
    }
    if (!node_id_is_equal(subject, id))
        return false;
    return statements_apply(d, FROM_DISK, packed, size, &statement, &author,
                            NULL) != DIRECTORY_BAD;
}

void directory_start(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                     struct actions *out)
{
    enter(d, now_ms, wall_us);
    d->own.is_started = true;
    d->sweep_due_ms = now_ms + prng_jitter(&d->prng, SWEEP_MS);
    d->watch_due_ms = now_ms + d->suspect_ms;
    failure_start(d);
    sync_start(d);
    own_publish(d, out);
}

void directory_set_address(struct directory *d, uint64_t now_ms,
                           uint64_t wall_us, const char *address,
                           struct actions *out)
{
    argus_NodeRecord *r = &d->own.record;

    enter(d, now_ms, wall_us);
    if (strcmp(r->address, address) == 0)
        return;
    text_copy(r->address, sizeof r->address, address);
    own_publish_soon(d, out);
}

void directory_set_bundles(struct directory *d, uint64_t now_ms,
                           uint64_t wall_us, const argus_BundleState *states,
                           uint32_t count, struct actions *out)
{
    enter(d, now_ms, wall_us);
    own_set_bundles(d, states, count, out);
}

void directory_set_keys(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                        const argus_HeldKey *held, uint32_t count,
                        struct actions *out)
{
    enter(d, now_ms, wall_us);
    own_set_keys(d, held, count, out);
}

void directory_set_clock(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                         const argus_ClockState *clock, struct actions *out)
{
    enter(d, now_ms, wall_us);
    own_set_clock(d, clock, out);
}

void directory_set_publishers(struct directory *d, uint64_t now_ms,
                              uint64_t wall_us, const uint8_t *digest,
                              size_t size, uint32_t count, uint32_t missing,
                              bool is_news, struct actions *out)
{
    enter(d, now_ms, wall_us);
    own_set_publishers(d, digest, size, count, missing, is_news, out);
}

void directory_set_forgotten(struct directory *d, uint64_t now_ms,
                             uint64_t wall_us, const argus_ForgottenNode *nodes,
                             uint32_t count, struct actions *out)
{
    enter(d, now_ms, wall_us);
    forgotten_set(d, nodes, count, out);
}

void directory_leave(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                     struct actions *out)
{
    enter(d, now_ms, wall_us);
    if (d->own.is_silent)
        return;
    d->own.record.left = true;
    own_publish(d, out);
    d->own.is_silent = true;
}

void directory_return(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                      struct actions *out)
{
    enter(d, now_ms, wall_us);
    if (!d->own.record.left)
        return;
    d->own.record.left = false;
    d->own.is_silent = false;
    d->watch_due_ms = now_ms + d->suspect_ms;
    own_publish(d, out);
}

/* Its own report is not kept here: a later life would find it on disk. */
void directory_stop(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                    struct actions *out)
{
    argus_Statement statement = {.which_body = argus_Statement_report_tag};
    argus_Report *report = &statement.body.report;
    uint8_t packed[SEALED_SIZE_MAX];

    (void)out;
    enter(d, now_ms, wall_us);
    if (d->own.is_silent || !d->own.is_started)
        return;
    d->own.is_silent = true;
    memcpy(report->subject, d->id.bytes, NODE_ID_SIZE);
    report->generation = d->own.record.generation;
    report->version = d->own.record.version;
    report->state = argus_MemberState_MEMBER_OFFLINE;
    report->hlc = d->listener.stamp(d->listener.context);
    report->proven = true;
    text_copy(report->reason, sizeof report->reason, "stopped");
    size_t size = d->seal.close(d->seal.context, &statement, packed);
    if (size == 0) {
        d->stats.seal_failed++;
        return;
    }
    d->stats.reports_published++;
    d->listener.broadcast(d->listener.context, packed, size);
}

/* -------------------------------------------------------------- inputs */

enum directory_verdict
directory_on_statement(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                       const uint8_t *payload, size_t size,
                       const argus_Statement *statement,
                       const struct node_id *author, struct actions *out)
{
    enter(d, now_ms, wall_us);
    return statements_apply(d, FROM_BROADCAST, payload, size, statement, author,
                            out);
}

void directory_heard(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                     const struct node_id *id)
{
    enter(d, now_ms, wall_us);
    struct member *m = members_find(&d->members, id);
    if (m != NULL)
        statements_heard(d, m);
}

void directory_neighbor_up(struct directory *d, uint64_t now_ms,
                           uint64_t wall_us, const struct peer_info *peer,
                           struct actions *out)
{
    enter(d, now_ms, wall_us);
    if (!sync_on_neighbor_up(d, peer)) {
        d->stats.neighbors_refused++;
        return;
    }
    struct member *m = members_find(&d->members, &peer->id);
    if (m != NULL) {
        m->is_neighbor = true;
        m->is_accused = m->is_unheard = false;
        statements_heard(d, m);
        (void)statements_refresh(d, m, wall_us);
    }
    if (d->own.was_alone)
        own_publish_soon(d, out);
}

static struct member *neighbor_down(struct directory *d,
                                    const struct node_id *id)
{
    if (!sync_has_neighbor(d, id))
        return NULL;
    sync_on_neighbor_down(d, id);

    struct member *m = members_find(&d->members, id);
    if (m != NULL) {
        m->is_neighbor = false;
        (void)statements_refresh(d, m, d->wall_us);
    }
    return m;
}

void directory_neighbor_released(struct directory *d, uint64_t now_ms,
                                 uint64_t wall_us, const struct node_id *id,
                                 struct actions *out)
{
    (void)out;
    enter(d, now_ms, wall_us);
    struct member *m = neighbor_down(d, id);
    if (m != NULL)
        statements_heard(d, m);
}

void directory_neighbor_lost(struct directory *d, uint64_t now_ms,
                             uint64_t wall_us, const struct node_id *id,
                             enum link_end why, argus_RefuseCode code,
                             struct actions *out)
{
    enter(d, now_ms, wall_us);
    struct member *m = neighbor_down(d, id);
    if (m == NULL || d->own.is_silent)
        return;
    /* It thought us silent: so it lives. */
    if (why == LINK_END_CLOSED && code == argus_RefuseCode_REFUSE_SILENT) {
        failure_on_sign_of_life(d);
        return;
    }
    /* Up to now it was there, or until it fell silent. */
    uint64_t seen_us =
        wall_us - (why == LINK_END_TIMEOUT ? d->suspect_ms * 1000u : 0);
    if (m->heard_us < seen_us)
        m->heard_us = seen_us;
    failure_on_neighbor_lost(d, m, why, out);
}

void directory_on_link_up(struct directory *d, uint64_t now_ms,
                          uint64_t wall_us, link_id link, dial_id dial,
                          const struct peer_info *peer, struct actions *out)
{
    enter(d, now_ms, wall_us);
    if (dial != 0 && failure_on_link_up(d, link, dial, peer, out))
        return;
    sync_on_link_up(d, link, dial, peer, out);
}

void directory_on_link_down(struct directory *d, uint64_t now_ms,
                            uint64_t wall_us, link_id link, enum link_end why,
                            argus_RefuseCode code, struct actions *out)
{
    (void)out;
    enter(d, now_ms, wall_us);
    sync_on_link_down(d, link, why, code);
}

void directory_on_dial_failed(struct directory *d, uint64_t now_ms,
                              uint64_t wall_us, dial_id dial, enum link_end why,
                              argus_RefuseCode code, struct actions *out)
{
    enter(d, now_ms, wall_us);
    if (!failure_on_dial_failed(d, dial, why, code, out))
        sync_on_dial_failed(d, dial);
}

void directory_on_frame(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                        link_id link, const argus_Frame *frame,
                        struct actions *out)
{
    enter(d, now_ms, wall_us);
    sync_on_frame(d, link, frame, out);
}

void directory_on_summary(struct directory *d, uint64_t now_ms,
                          uint64_t wall_us, const struct node_id *neighbor,
                          uint64_t records, bool are_events_same)
{
    enter(d, now_ms, wall_us);
    sync_on_summary(d, neighbor, records, are_events_same);
}

uint64_t directory_sum(const struct directory *d)
{
    return sums_of_all(&d->members);
}

/* Goes backwards, since a member that is forgotten moves those behind it. */
static void sweep(struct directory *d, struct actions *out)
{
    d->sweep_due_ms = d->now_ms + prng_jitter(&d->prng, SWEEP_MS);
    for (uint32_t i = d->members.count; i-- > 0;) {
        struct member *m = d->members.list[i];
        if (m->is_self || m->is_neighbor)
            continue;
        bool is_gone = member_is_gone(m);
        bool is_old = d->wall_us > m->since_us &&
                      d->wall_us - m->since_us >= d->retain_ms * 1000;
        bool is_ordered = is_gone && forgotten_has(d, m);
        if (m->is_superseded && is_gone)
            d->stats.members_superseded++;
        d->stats.members_ordered_away += is_ordered;
        if (is_gone && (is_old || m->is_superseded || is_ordered))
            statements_forget(d, m, out);
        else if (m->is_superseded && failure_is_prober(d, m))
            failure_probe(d, m, PROBE_MASS, out);
    }
    failure_check_leases(d, out);
    members_expire_tombstones(&d->members, d->now_ms);
}

void directory_on_timeout(struct directory *d, uint64_t now_ms,
                          uint64_t wall_us, struct actions *out)
{
    enter(d, now_ms, wall_us);
    if (!d->own.is_started || d->own.is_silent)
        return;
    d->watch_due_ms = now_ms + d->suspect_ms / 2;
    if (d->own.due_ms <= now_ms)
        own_on_due(d, out);
    failure_on_timeout(d, out);
    statements_on_timeout(d, out);
    sync_on_timeout(d, out);
    if (d->sweep_due_ms <= now_ms)
        sweep(d, out);
}

uint64_t directory_deadline_ms(const struct directory *d)
{
    if (!d->own.is_started || d->own.is_silent)
        return UINT64_MAX;

    const uint64_t deadlines[] = {failure_deadline_ms(d), sync_deadline_ms(d),
                                  statements_deadline_ms(d), d->sweep_due_ms,
                                  d->watch_due_ms};
    uint64_t deadline = d->own.due_ms;
    for (size_t i = 0; i < sizeof deadlines / sizeof deadlines[0]; i++)
        if (deadlines[i] < deadline)
            deadline = deadlines[i];
    return deadline;
}

/* ----------------------------------------------------------- questions */

uint32_t directory_count(const struct directory *d, argus_MemberState state)
{
    return d->members.in_state[state];
}

uint32_t directory_members(const struct directory *d)
{
    return d->members.count;
}

const struct member *directory_member(const struct directory *d, uint32_t index)
{
    return index < d->members.count ? d->members.list[index] : NULL;
}

const struct member *directory_find(const struct directory *d,
                                    const struct node_id *id)
{
    return members_find(&d->members, id);
}

const char *directory_name(const struct directory *d, const struct node_id *id)
{
    const struct member *m = members_find(&d->members, id);
    return m == NULL ? "" : m->name;
}

const struct member *directory_find_address(const struct directory *d,
                                            const char *address)
{
    const struct member *m = members_at(&d->members, address);

    while (m != NULL && member_is_gone(m))
        m = m->same_address;
    return m;
}

const struct member *directory_aggregator(const struct directory *d,
                                          uint32_t index)
{
    return index < d->aggregators_count ? d->aggregators[index] : NULL;
}

uint64_t directory_aggregators_stamp(const struct directory *d)
{
    return d->aggregators_stamp;
}

/* The bytes of a field, without unpacking what is around it. */
static bool find_field(const uint8_t **data, size_t *size, uint32_t wanted)
{
    pb_istream_t in = pb_istream_from_buffer(*data, *size);
    pb_wire_type_t type;
    uint32_t tag, length;
    bool is_end;

    while (pb_decode_tag(&in, &type, &tag, &is_end)) {
        if (tag != wanted || type != PB_WT_STRING) {
            if (!pb_skip_field(&in, type))
                return false;
            continue;
        }
        if (!pb_decode_varint32(&in, &length) || length > in.bytes_left)
            return false;
        *data += *size - in.bytes_left;
        *size = length;
        return true;
    }
    return false;
}

/* It was checked when it came; here it is only unpacked, and no more of it than
 * is asked for: questions go through thousands of them. */
static bool unpack(const uint8_t *data, size_t size, uint32_t body,
                   const pb_msgdesc_t *fields, void *out)
{
    if (data == NULL || !find_field(&data, &size, argus_Signed_statement_tag) ||
        !find_field(&data, &size, body))
        return false;
    pb_istream_t in = pb_istream_from_buffer(data, size);
    return pb_decode(&in, fields, out);
}

bool directory_record(const struct member *m, argus_NodeRecord *out)
{
    return unpack(m->packed, m->packed_size, argus_Statement_record_tag,
                  argus_NodeRecord_fields, out);
}

bool directory_report(const struct member *m, argus_Report *out)
{
    return m->report != NULL &&
           unpack(m->report->packed, m->report->packed_size,
                  argus_Statement_report_tag, argus_Report_fields, out);
}

const uint8_t *directory_publishers(const struct member *m, size_t *size)
{
    const uint8_t *data = m->packed;

    *size = m->packed_size;
    if (data != NULL && find_field(&data, size, argus_Signed_statement_tag) &&
        find_field(&data, size, argus_Statement_record_tag) &&
        find_field(&data, size, argus_NodeRecord_publishers_tag))
        return data;
    *size = 0;
    return NULL;
}

uint64_t directory_heard_us(const struct member *m, uint64_t wall_us)
{
    return m->is_self || m->is_neighbor ? wall_us : m->heard_us;
}

static int by_name(const void *a, const void *b)
{
    const struct member *x = *(struct member *const *)a;
    const struct member *y = *(struct member *const *)b;

    return strcmp(x->name, y->name);
}

void directory_find_namesakes(struct directory *d)
{
    struct member **list = malloc(d->members.count * sizeof(struct member *));
    uint32_t count = 0;

    for (uint32_t i = 0; i < d->members.count; i++) {
        struct member *m = d->members.list[i];
        m->has_namesake = false;
        if (list != NULL && !member_is_gone(m) && m->packed != NULL)
            list[count++] = m;
    }
    if (list != NULL)
        qsort(list, count, sizeof(struct member *), by_name);
    for (uint32_t i = 1; i < count; i++)
        if (strcmp(list[i - 1]->name, list[i]->name) == 0)
            list[i - 1]->has_namesake = list[i]->has_namesake = true;
    free(list);
}

bool directory_departures(const struct directory *d, struct departures *out)
{
    return departures_of(&d->members, out);
}

/* Whoever may live, cut off from here, is not known to be offline. */
static void add_cut_off(const struct directory *d, argus_Coverage *out)
{
    const size_t max = sizeof out->zones / sizeof out->zones[0];
    struct departures all;

    (void)departures_of(&d->members, &all); /* no memory: none */
    for (uint32_t i = 0; i < all.count; i++)
        out->cut_off +=
            all.list[i].is_unsure &&
            all.list[i].member->state == argus_MemberState_MEMBER_OFFLINE;
    for (uint32_t i = 0; i < all.groups_count; i++) {
        const struct departure_group *g = &all.groups[i];
        if (g->unsure == 0)
            continue;
        if (out->zones_count == max)
            out->zones_more++;
        else
            departure_group_name(g, out->zones[out->zones_count++],
                                 sizeof out->zones[0]);
    }
    departures_free(&all);
    out->known += out->cut_off;
}

/* Without a neighbor nobody can say how those on the disk are. */
static uint32_t unheard(const struct directory *d)
{
    uint32_t n = 0;

    if (d->sync.neighbors_count > 0)
        return 0;
    for (uint32_t i = 0; i < d->members.count; i++)
        n += d->members.list[i]->is_unheard;
    return n;
}

void directory_coverage(const struct directory *d, uint64_t wall_us,
                        argus_Coverage *out)
{
    uint64_t oldest_us = 0;

    *out = (argus_Coverage)argus_Coverage_init_zero;
    for (uint32_t i = 0; i < d->members.count; i++) {
        const struct member *m = d->members.list[i];
        if (m->state != argus_MemberState_MEMBER_ONLINE &&
            m->state != argus_MemberState_MEMBER_SUSPECT)
            continue;
        uint64_t seen_us = directory_heard_us(m, wall_us);
        uint64_t stated_us = (m->hlc >> 16) * 1000;
        if (seen_us < stated_us)
            seen_us = stated_us;
        if (seen_us < wall_us && wall_us - seen_us > oldest_us)
            oldest_us = wall_us - seen_us;
        out->known++;
    }
    out->contributed = out->known;
    for (uint32_t i = 0; i < d->sync.neighbors_count; i++)
        if (members_find(&d->members, &d->sync.neighbors[i].id) == NULL)
            out->known++;
    out->known += unheard(d);
    add_cut_off(d, out);
    out->oldest_s = (double)oldest_us / 1e6;
}

uint32_t directory_generation(const struct directory *d)
{
    return d->own.record.generation;
}

const struct directory_stats *directory_stats(const struct directory *d)
{
    return &d->stats;
}
