#include "core/own_record.h"

#include "base/text.h"
#include "core/directory_state.h"

void own_init(struct directory *d, const struct engine_options *node)
{
    argus_NodeRecord *r = &d->own.record;

    r->generation = node->generation;
    text_copy(r->name, sizeof r->name, node->name);
    text_copy(r->address, sizeof r->address, node->address);
    r->role = node->role;
    text_copy(r->zone, sizeof r->zone, node->zone);
    r->tags_count = (pb_size_t)node->tags_count;
    memcpy(r->tags, node->tags, node->tags_count * sizeof node->tags[0]);
    r->weight = node->weight;
    text_copy(r->software, sizeof r->software, node->software);
    r->instance = node->instance;
    r->started_ms = node->started_ms;
    d->own.due_ms = UINT64_MAX;
}

uint32_t own_lease_ms(const struct directory *d)
{
    const uint32_t *in_state = d->members.in_state;
    uint32_t present = in_state[argus_MemberState_MEMBER_ONLINE] +
                       in_state[argus_MemberState_MEMBER_SUSPECT];
    uint32_t lease_ms = present * LEASE_MEMBER_MS;

    return lease_ms > LEASE_MIN_MS ? lease_ms : LEASE_MIN_MS;
}

/* @return false: the numbers are used up. */
static bool raise_generation(struct directory *d, uint32_t above)
{
    if (above == UINT32_MAX)
        return false;
    d->own.record.generation = above + 1;
    d->own.record.version = 0;
    d->stats.generations_raised++;
    d->listener.generation_raised(d->listener.context, above + 1);
    return true;
}

/* Texts of bundles give way until the record fits: warnings first, then errors
 * are cut shorter; then what is published. Names and versions always fit.
 * @return false: no more. */
static bool trim(argus_NodeRecord *record, uint32_t publishers, unsigned step)
{
    static const size_t error_sizes[] = {256, 160, 96, 48, 1};
    const unsigned steps = sizeof error_sizes / sizeof error_sizes[0];

    if (step == steps) {
        record->publishers.size = 0;
        record->publishers_missing = publishers;
    }
    if (step >= steps)
        return step == steps;
    for (pb_size_t i = 0; i < record->bundles_count; i++) {
        record->bundles[i].warnings_count = 0;
        record->bundles[i].error[error_sizes[step] - 1] = '\0';
    }
    return true;
}

/* @return size; 0: it could not be sealed. */
static size_t seal_own(struct directory *d, uint8_t packed[SEALED_SIZE_MAX])
{
    argus_Statement statement = {.which_body = argus_Statement_record_tag,
                                 .body.record = d->own.record};
    size_t size = d->seal.close(d->seal.context, &statement, packed);

    if (size > 0)
        return size;
    for (unsigned step = 0;
         size == 0 && trim(&statement.body.record, d->own.publishers, step);
         step++)
        size = d->seal.close(d->seal.context, &statement, packed);
    d->stats.records_trimmed += size > 0;
    d->stats.seal_failed += size == 0;
    return size;
}

void own_publish(struct directory *d, struct actions *out)
{
    struct own *own = &d->own;
    uint8_t packed[SEALED_SIZE_MAX];

    own->due_ms = UINT64_MAX;
    if (!own->is_started || own->is_silent)
        return;
    if (own->record.version == UINT32_MAX &&
        !raise_generation(d, own->record.generation))
        return;

    own->lease_ms = own_lease_ms(d);
    own->due_ms = d->now_ms + prng_jitter(&d->prng, own->lease_ms);
    own->published_ms = d->now_ms;
    own->was_alone = d->sync.neighbors_count == 0;
    own->record.version++;
    own->record.hlc = d->listener.stamp(d->listener.context);
    size_t size = seal_own(d, packed);
    if (size == 0)
        return;
    if (!statements_keep_record(d, own->member, &own->record, packed, size,
                                out))
        return;
    statements_heard(d, own->member);
    d->stats.records_published++;
    d->listener.broadcast(d->listener.context, packed, size);
}

static void publish_not_before(struct directory *d, uint64_t when_ms,
                               struct actions *out)
{
    if (when_ms <= d->now_ms) {
        own_publish(d, out);
    } else if (when_ms < d->own.due_ms) {
        d->own.due_ms = when_ms;
        d->own.lease_ms = 0;
    }
}

void own_on_due(struct directory *d, struct actions *out)
{
    struct own *own = &d->own;
    uint64_t age_ms = d->now_ms - own->published_ms;
    uint32_t lease_ms = own_lease_ms(d);

    if (own->lease_ms == 0 || lease_ms / 2 < own->lease_ms ||
        age_ms >= lease_ms) {
        own_publish(d, out);
        return;
    }
    own->lease_ms = lease_ms;
    own->due_ms =
        d->now_ms + prng_below(&d->prng, (uint32_t)(lease_ms - age_ms)) + 1;
}

void own_publish_soon(struct directory *d, struct actions *out)
{
    if (d->own.is_started && !d->own.is_silent)
        publish_not_before(d, d->own.published_ms + PUBLISH_GAP_MS, out);
}

/* What one order or push changes on all nodes at once must not make all of them
 * publish at once. */
static void publish_in_turn(struct directory *d, struct actions *out)
{
    if (!d->own.is_started || d->own.is_silent)
        return;
    uint32_t spread_ms = d->members.count * PUBLISH_MEMBER_US / 1000;
    uint64_t gap_end_ms = d->own.published_ms + PUBLISH_GAP_MS;
    publish_not_before(d,
                       (gap_end_ms > d->now_ms ? gap_end_ms : d->now_ms) +
                           prng_below(&d->prng, spread_ms + 1),
                       out);
}

static bool is_same_state(const argus_BundleState *a,
                          const argus_BundleState *b)
{
    if (strcmp(a->name, b->name) != 0 || a->desired != b->desired ||
        a->desired_hash.size != b->desired_hash.size ||
        memcmp(a->desired_hash.bytes, b->desired_hash.bytes,
               a->desired_hash.size) != 0 ||
        a->running != b->running || a->phase != b->phase ||
        strcmp(a->error, b->error) != 0 ||
        a->warnings_count != b->warnings_count)
        return false;
    for (pb_size_t i = 0; i < a->warnings_count; i++)
        if (strcmp(a->warnings[i], b->warnings[i]) != 0)
            return false;
    return true;
}

void own_set_bundles(struct directory *d, const argus_BundleState *states,
                     uint32_t count, struct actions *out)
{
    argus_NodeRecord *r = &d->own.record;
    const uint32_t max = sizeof r->bundles / sizeof r->bundles[0];
    bool is_same = count == r->bundles_count;

    if (count > max) {
        d->stats.bundle_states_cut += count - max;
        count = max;
        is_same = count == r->bundles_count;
    }
    for (uint32_t i = 0; is_same && i < count; i++)
        is_same = is_same_state(&states[i], &r->bundles[i]);
    if (is_same)
        return;
    memcpy(r->bundles, states, count * sizeof states[0]);
    r->bundles_count = (pb_size_t)count;
    publish_in_turn(d, out);
}

void own_set_keys(struct directory *d, const argus_HeldKey *held,
                  uint32_t count, struct actions *out)
{
    argus_NodeRecord *r = &d->own.record;
    const uint32_t max = sizeof r->keys / sizeof r->keys[0];
    bool is_same;

    count = count < max ? count : max; /* the owner holds no more */
    is_same = count == r->keys_count;
    for (uint32_t i = 0; is_same && i < count; i++)
        is_same = held[i].dial == r->keys[i].dial &&
                  memcmp(held[i].id, r->keys[i].id, sizeof held[i].id) == 0;
    if (is_same)
        return;
    if (count > 0)
        memcpy(r->keys, held, count * sizeof held[0]);
    r->keys_count = (pb_size_t)count;
    publish_in_turn(d, out);
}

void own_set_clock(struct directory *d, const argus_ClockState *clock,
                   struct actions *out)
{
    argus_NodeRecord *r = &d->own.record;
    bool is_other = r->clock.alarm != clock->alarm;

    if (!is_other && r->clock.epoch == clock->epoch)
        return;
    r->clock = *clock;
    r->has_clock = clock->alarm || clock->epoch > 0;
    if (is_other)
        own_publish_soon(d, out);
    else
        publish_in_turn(d, out);
}

void own_set_publishers(struct directory *d, const uint8_t *digest, size_t size,
                        uint32_t count, uint32_t missing, bool is_news,
                        struct actions *out)
{
    argus_NodeRecord *r = &d->own.record;

    if (size > sizeof r->publishers.bytes)
        return; /* the owner's mistake: it never gets so far */
    memcpy(r->publishers.bytes, digest, size);
    r->publishers.size = (pb_size_t)size;
    r->publishers_missing = missing;
    d->own.publishers = count;
    if (is_news)
        publish_in_turn(d, out);
}

/* Somebody speaks of a version of ours that is not below the one we published:
 * the next one is above it. @return false: it is too far ahead to be true. */
static bool outdo(struct directory *d, uint32_t generation, uint32_t version,
                  struct actions *out)
{
    argus_NodeRecord *r = &d->own.record;
    bool is_newer_life = generation > r->generation;
    uint32_t leap =
        is_newer_life ? generation - r->generation : version - r->version;

    if (leap > VERSION_LEAP_MAX)
        return false;
    if (is_newer_life)
        (void)raise_generation(d, generation);
    else
        r->version = version;
    own_publish_soon(d, out);
    return true;
}

enum directory_verdict own_on_report(struct directory *d,
                                     const argus_Report *report,
                                     struct actions *out)
{
    argus_NodeRecord *r = &d->own.record;

    if (!d->own.is_started || d->own.is_silent ||
        version_compare(report->generation, report->version, r->generation,
                        r->version) < 0) {
        d->stats.reports_stale++;
        return DIRECTORY_STALE;
    }
    if (!outdo(d, report->generation, report->version, out)) {
        d->stats.reports_bad++;
        return DIRECTORY_BAD;
    }
    d->stats.refutations++;
    actions_log(out, LOG_LEVEL_INFO, "refuting a report on this node: %s",
                report->reason);
    return DIRECTORY_STALE;
}

void own_on_forgotten(struct directory *d, uint32_t generation,
                      uint32_t version, struct actions *out)
{
    const argus_NodeRecord *r = &d->own.record;

    if (!d->own.is_started || d->own.is_silent ||
        version_compare(generation, version, r->generation, r->version) < 0)
        return;
    if (!outdo(d, generation, version, out)) {
        actions_log(out, LOG_LEVEL_ERROR,
                    "an operator's order forgets versions of this node that "
                    "never were: it is known to nobody until the order is "
                    "replaced");
        return;
    }
    d->stats.refutations++;
    actions_log(out, LOG_LEVEL_NOTICE,
                "an operator's order forgets this node, which lives: its "
                "record is published anew");
}

static bool is_looked_up(const struct own *own, uint64_t instance)
{
    for (uint32_t i = 0; i < own->clones_count && i < CLONES_REMEMBERED; i++)
        if (own->clones[i] == instance)
            return true;
    return false;
}

static void look_for_clone(struct directory *d, const argus_NodeRecord *record,
                           struct actions *out)
{
    struct own *own = &d->own;

    if (record->left || strcmp(record->address, own->record.address) == 0 ||
        !address_can_be_dialed(record->address) ||
        is_looked_up(own, record->instance))
        return;
    if (failure_probe_clone(d, record, out))
        own->clones[own->clones_count++ % CLONES_REMEMBERED] = record->instance;
}

/* Another life of our id is ahead of us. */
static void outrun(struct directory *d, uint32_t generation,
                   struct actions *out)
{
    struct own *own = &d->own;

    if (!raise_generation(d, generation))
        return;
    if (out == NULL || !own->is_started)
        return; /* the first record will carry it */

    if (d->now_ms - own->contest_ms > CONTEST_QUIET_MS)
        own->contest_wait_ms = 0;
    own->contest_ms = d->now_ms;
    uint64_t when_ms =
        own->published_ms + PUBLISH_GAP_MS + own->contest_wait_ms;
    if (own->due_ms <= when_ms)
        return; /* the answer is under way already */
    publish_not_before(d, when_ms, out);
    own->contest_wait_ms =
        own->contest_wait_ms == 0 ? PUBLISH_GAP_MS : 2 * own->contest_wait_ms;
    if (own->contest_wait_ms > CONTEST_WAIT_MAX_MS)
        own->contest_wait_ms = CONTEST_WAIT_MAX_MS;
}

enum directory_verdict own_on_record(struct directory *d,
                                     const argus_NodeRecord *record,
                                     struct actions *out)
{
    argus_NodeRecord *r = &d->own.record;

    d->stats.records_stale++;
    if (record->instance == r->instance || d->own.is_silent)
        return DIRECTORY_STALE;
    if (out != NULL && d->own.is_started)
        look_for_clone(d, record, out);
    if (version_compare(record->generation, record->version, r->generation,
                        r->version) >= 0)
        outrun(d, record->generation, out);
    return DIRECTORY_STALE;
}

void own_on_clone(struct directory *d, uint64_t instance, uint64_t started_ms,
                  struct actions *out)
{
    argus_NodeRecord *r = &d->own.record;
    bool we_are_later = r->started_ms > started_ms ||
                        (r->started_ms == started_ms && r->instance > instance);

    if (instance == r->instance || d->own.is_silent)
        return;
    d->stats.clones_found++;
    if (!we_are_later) {
        actions_log(out, LOG_LEVEL_WARNING,
                    "another process runs with the identity of this node; it "
                    "started later and has to make a new one");
        return;
    }
    actions_log(out, LOG_LEVEL_WARNING,
                "another process runs with the identity of this node and "
                "started earlier: a new identity is made here");
    d->own.is_silent = true;
    struct action a = {.type = ACTION_NEW_IDENTITY};
    out->emit(out->context, &a);
}
