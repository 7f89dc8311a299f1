#include "core/overlay.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/lines.h"
#include "base/status.h"
#include "core/bucket.h"

/* What every frame asks for comes first. */
struct overlay {
    uint64_t now_ms;
    uint64_t wall_us; /* as it is: what peers measure */
    uint64_t time_us; /* as it should be: what stamps are made of */
    struct links *links;
    struct membership *membership;
    struct plumtree *tree;
    struct clock *clock;
    struct actions sink; /* the owner's */
    struct hlc hlc;
    struct clock_reading reading;
    unsigned clock_news;
    struct overlay_stats stats;
    struct actions out; /* through overlay_emit() */
    struct bucket walks;
    struct overlay_listener listener;
};

/* --------------------------------------------------- the way outward */

/* @return false: the link is closing, or was never up. */
static bool on_send(struct overlay *o, const struct action *action)
{
    if (!links_is_open(o->links, action->send.link)) {
        o->stats.send_dropped++;
        return false;
    }
    /* The frame belongs to the part that sends it, which made it for this
     * call; see actions.h. */
    ((argus_Frame *)(uintptr_t)action->send.frame)->hlc =
        hlc_stamp(&o->hlc, o->time_us);
    o->stats.frame_sent++;
    return true;
}

/* @return false: it was closed before. */
static bool on_close(struct overlay *o, const struct action *action)
{
    if (links_peer(o->links, action->close.link) != NULL &&
        !links_on_close(o->links, action->close.link))
        return false;
    if (action->close.code == argus_RefuseCode_REFUSE_MALFORMED &&
        o->listener.broken != NULL)
        o->listener.broken(o->listener.context, action->close.link);
    return true;
}

static void overlay_emit(void *context, const struct action *action)
{
    struct overlay *o = context;

    if (action->type == ACTION_SEND && !on_send(o, action))
        return;
    if (action->type == ACTION_CLOSE && !on_close(o, action))
        return;
    o->sink.emit(o->sink.context, action);
}

struct actions *overlay_actions(struct overlay *o)
{
    return &o->out;
}

/* ------------------------------------------------------ what links tell */

static void link_down(struct overlay *o, link_id link,
                      const struct peer_info *peer, enum link_end why,
                      argus_RefuseCode code)
{
    if (peer->kind == argus_LinkKind_LINK_MESH)
        membership_on_link_down(o->membership, o->now_ms, link, why, code,
                                &o->out);
    else if (o->listener.link_down != NULL)
        o->listener.link_down(o->listener.context, link, peer, why, code);
}

static void links_silent(void *context, link_id link,
                         const struct peer_info *peer, struct actions *out)
{
    (void)out;
    link_down(context, link, peer, LINK_END_TIMEOUT,
              argus_RefuseCode_REFUSE_SILENT);
}

static void links_flooded(void *context, link_id link,
                          const struct peer_info *peer, struct actions *out)
{
    struct overlay *o = context;

    (void)link;
    (void)out;
    if (o->listener.flooded != NULL)
        o->listener.flooded(o->listener.context, peer);
}

static void links_standing(void *context, link_id link, argus_Standing *out)
{
    struct overlay *o = context;
    plumtree_standing(o->tree, o->now_ms, link, out);
}

/* Where both ends hold the link active, as they nearly always do, the audit has
 * nothing to say. */
static void links_told(void *context, link_id link,
                       const argus_Standing *standing, struct actions *out)
{
    struct overlay *o = context;
    int64_t rtt_us, offset_us;
    bool agree = standing->active && links_is_active(o->links, link);

    if (links_clock(o->links, link, &rtt_us, &offset_us))
        plumtree_on_standing(o->tree, o->now_ms, link, standing,
                             (uint64_t)rtt_us, out);
    if (!agree || membership_has_doubts(o->membership))
        membership_on_audit(o->membership, o->now_ms, link, standing->active,
                            out);
}

/* Asked for: by a neighbor's link, one that we dialed, or a random meeting.
 * Whoever dials us as often and under as many names as he likes has no vote. */
static void links_measured(void *context, link_id link,
                           const struct peer_info *peer, int64_t round_trip_us,
                           int64_t offset_us)
{
    struct overlay *o = context;
    bool is_active = links_is_active(o->links, link);
    bool is_meeting = !is_active && membership_is_meeting(o->membership, link);

    if (is_active || is_meeting || links_dial(o->links, link) != 0)
        (void)clock_sample(o->clock, &o->reading, &peer->id, round_trip_us,
                           offset_us);
    if (is_meeting)
        membership_met(o->membership, o->now_ms, link, &o->out);
}

/* ------------------------------------------ what the membership tells */

static void met(void *context, link_id link, struct actions *out)
{
    struct overlay *o = context;
    links_ping(o->links, o->now_ms, o->wall_us, link, out);
}

static void neighbor_up(void *context, link_id link,
                        const struct peer_info *peer, struct actions *out)
{
    struct overlay *o = context;

    links_set_active(o->links, link, true);
    plumtree_neighbor_up(o->tree, o->now_ms, link, out);
    if (o->listener.neighbor_up != NULL)
        o->listener.neighbor_up(o->listener.context, link, peer, out);
    /* So that a link that the tree does not need leaves it at once. */
    if (links_dial(o->links, link) != 0)
        links_ping(o->links, o->now_ms, o->wall_us, link, out);
}

static void neighbor_down(void *context, link_id link,
                          const struct node_id *peer, enum link_end why,
                          argus_RefuseCode code, struct actions *out)
{
    struct overlay *o = context;

    links_set_active(o->links, link, false);
    plumtree_neighbor_down(o->tree, o->now_ms, link, out);
    if (o->listener.neighbor_down != NULL)
        o->listener.neighbor_down(o->listener.context, link, peer, why, code,
                                  out);
}

static void learned_address(void *context, const struct node_id *peer,
                            const char *address, struct actions *out)
{
    struct overlay *o = context;

    if (o->listener.learned_address != NULL)
        o->listener.learned_address(o->listener.context, peer, address, out);
}

static bool is_live_address(void *context, const char *address)
{
    struct overlay *o = context;
    return o->listener.is_live_address != NULL &&
           o->listener.is_live_address(o->listener.context, address);
}

static bool is_used(void *context, link_id link)
{
    struct overlay *o = context;
    return plumtree_is_eager(o->tree, link);
}

static bool is_live(void *context, const struct node_id *peer)
{
    struct overlay *o = context;
    return o->listener.is_live != NULL &&
           o->listener.is_live(o->listener.context, peer);
}

static bool has_left(void *context, const struct node_id *peer)
{
    struct overlay *o = context;
    return o->listener.has_left != NULL &&
           o->listener.has_left(o->listener.context, peer);
}

static bool any_member(void *context, uint32_t pick,
                       struct membership_wish wish, struct membership_peer *out)
{
    struct overlay *o = context;
    return o->listener.any_member != NULL &&
           o->listener.any_member(o->listener.context, pick, wish, out);
}

/* ------------------------------------------------------------- life */

static int new_links(struct overlay *o, const struct overlay_options *options)
{
    struct links_options links = {.seed = options->membership.seed,
                                  .ping_ms = options->ping_ms,
                                  .jitter_ms = options->ping_ms / 5,
                                  .suspect_ms = options->suspect_ms,
                                  .links_max = OVERLAY_LINKS_MAX,
                                  .peer_links_max = OVERLAY_PEER_LINKS_MAX};
    struct links_listener up = {.context = o,
                                .silent = links_silent,
                                .standing = links_standing,
                                .told = links_told,
                                .measured = links_measured,
                                .flooded = links_flooded};

    return links_new(&links, &up, &o->links);
}

/* How much more seldom a mesh at rest may shuffle. A node meets two others a
 * shuffle, by its own and by those that end at it; beside its neighbors the
 * clock wants K of them before the first is forgotten. */
static uint32_t shuffle_rest(const struct overlay_options *options)
{
    uint32_t peers =
        options->clock_peers != 0 ? options->clock_peers : CLOCK_PEERS;
    uint32_t near = options->membership.active_max;
    uint64_t wanted = peers > near ? peers - near : 1;
    uint64_t wait_ms = 2 * (uint64_t)CLOCK_AGE_US / 1000 / wanted;
    uint64_t most_ms =
        (uint64_t)SHUFFLE_REST_MAX * options->membership.shuffle_ms;

    return wait_ms < most_ms
               ? (uint32_t)(wait_ms / options->membership.shuffle_ms)
               : SHUFFLE_REST_MAX;
}

static int new_membership(struct overlay *o,
                          const struct overlay_options *options)
{
    struct membership_options views = options->membership;
    struct membership_listener up = {.context = o,
                                     .neighbor_up = neighbor_up,
                                     .neighbor_down = neighbor_down,
                                     .learned_address = learned_address,
                                     .is_live_address = is_live_address,
                                     .is_used = is_used,
                                     .is_live = is_live,
                                     .has_left = has_left,
                                     .met = met,
                                     .any_member = any_member};

    views.answer_ms = options->suspect_ms;
    views.shuffle_rest = shuffle_rest(options);
    return membership_new(&views, &up, &o->membership);
}

/* The same at each start: ids are hashes. */
static uint32_t rank_of(const struct node_id *id)
{
    uint32_t rank;

    memcpy(&rank, id->bytes, sizeof rank);
    return rank | 1;
}

static int new_tree(struct overlay *o, const struct overlay_options *options)
{
    struct plumtree_options tree;
    struct plumtree_listener up = {.context = o->listener.context,
                                   .deliver = o->listener.deliver};

    plumtree_defaults(&tree);
    if (options->tree != NULL)
        tree = *options->tree;
    tree.seed = options->tree_seed;
    tree.hash = options->hash;
    tree.rank = rank_of(&options->membership.id);
    tree.neighbors_max = membership_limit(&options->membership);
    return plumtree_new(&tree, &up, &o->tree);
}

static int new_clock(struct overlay *o, const struct overlay_options *options)
{
    uint32_t window_ms = options->clock_window_ms;
    uint32_t alarm_ms = options->clock_alarm_ms;

    if (window_ms == 0)
        window_ms = options->membership.shuffle_ms;
    if (alarm_ms == 0)
        alarm_ms = CLOCK_ALARM_MS;
    struct clock_options clock = {
        .peers_max = options->clock_peers,
        .window_ms = window_ms > CLOCK_TICK_MS ? window_ms : CLOCK_TICK_MS,
        .alarm_us = alarm_ms * 1000};

    return clock_new(&clock, &o->clock);
}

int overlay_new(const struct overlay_options *options,
                const struct overlay_listener *listener,
                const struct actions *sink, struct overlay **out)
{
    struct overlay *o = lines_alloc(sizeof *o);

    if (o == NULL)
        return ARGUS_ENOMEM;
    o->listener = *listener;
    o->sink = *sink;
    o->out = (struct actions){.emit = overlay_emit, .context = o};
    hlc_init(&o->hlc, options->hlc_mark, options->started_ms * 1000,
             options->clock_max_offset_ms);
    int rc = new_links(o, options);
    if (rc == ARGUS_OK)
        rc = new_membership(o, options);
    if (rc == ARGUS_OK)
        rc = new_tree(o, options);
    if (rc == ARGUS_OK)
        rc = new_clock(o, options);
    if (rc != ARGUS_OK) {
        overlay_free(o);
        return rc;
    }
    *out = o;
    return ARGUS_OK;
}

void overlay_free(struct overlay *o)
{
    if (o == NULL)
        return;
    clock_free(o->clock);
    plumtree_free(o->tree);
    membership_free(o->membership);
    links_free(o->links);
    free(o);
}

void overlay_advance(struct overlay *o, uint64_t now_ms, uint64_t wall_us)
{
    overlay_advance_boot(o, now_ms, now_ms * 1000, wall_us);
}

void overlay_advance_boot(struct overlay *o, uint64_t now_ms, uint64_t boot_us,
                          uint64_t wall_us)
{
    o->now_ms = now_ms;
    o->wall_us = wall_us;
    o->reading = (struct clock_reading){
        .now_ms = now_ms, .boot_us = boot_us, .wall_us = wall_us};
    o->clock_news |= clock_tick(o->clock, &o->reading);
    o->time_us = clock_time_us(o->clock, &o->reading);
}

uint64_t overlay_time_us(const struct overlay *o)
{
    return o->time_us;
}

const struct clock_reading *overlay_reading(const struct overlay *o)
{
    return &o->reading;
}

unsigned overlay_take_clock_news(struct overlay *o)
{
    unsigned news = o->clock_news;

    o->clock_news = 0;
    return news;
}

bool overlay_begin_epoch(struct overlay *o, uint32_t epoch)
{
    if (!clock_begin_epoch(o->clock, &o->reading, epoch))
        return false;
    o->time_us = clock_time_us(o->clock, &o->reading);
    hlc_restart(&o->hlc, o->time_us);
    return true;
}

void overlay_start(struct overlay *o)
{
    membership_start(o->membership, o->now_ms, &o->out);
}

void overlay_hurry(struct overlay *o)
{
    plumtree_hurry(o->tree);
}

void overlay_leave(struct overlay *o)
{
    membership_leave(o->membership, o->now_ms, &o->out);
}

int overlay_join(struct overlay *o, const char *address)
{
    return membership_join(o->membership, o->now_ms, address, &o->out);
}

void overlay_on_call(struct overlay *o, const struct membership_peer *caller,
                     uint32_t online)
{
    membership_on_call(o->membership, o->now_ms, caller, online, &o->out);
}

/* ------------------------------------------------------------- inputs */

bool overlay_on_dial_failed(struct overlay *o, dial_id dial, enum link_end why,
                            argus_RefuseCode code)
{
    if (dial >> 56 != MEMBERSHIP_DIAL_TAG)
        return false;
    membership_on_dial_failed(o->membership, o->now_ms, dial, why, code,
                              &o->out);
    return true;
}

/* Whoever reaches us can be reached, or says where. */
static void offer(struct overlay *o, const struct peer_info *peer)
{
    const struct membership_peer known = {.id = peer->id,
                                          .generation = peer->generation,
                                          .role = peer->role,
                                          .zone = peer->zone,
                                          .address = peer->address};

    membership_offer(o->membership, o->now_ms, &known, &o->out);
}

bool overlay_on_link_up(struct overlay *o, link_id link, dial_id dial,
                        const struct peer_info *peer)
{
    bool ours = dial == 0 || dial >> 56 == MEMBERSHIP_DIAL_TAG;

    if (!links_on_link_up(o->links, o->now_ms, link, dial, peer, &o->out)) {
        (void)overlay_on_dial_failed(o, dial, LINK_END_LOCAL,
                                     argus_RefuseCode_REFUSE_BUSY);
        return false;
    }
    if (o->listener.link_up != NULL)
        o->listener.link_up(o->listener.context, link, dial, peer);
    if (peer->kind != argus_LinkKind_LINK_MESH)
        offer(o, peer);
    else if (ours)
        membership_on_link_up(o->membership, o->now_ms, link, dial, peer,
                              &o->out);
    return true;
}

void overlay_on_link_down(struct overlay *o, link_id link, enum link_end why,
                          argus_RefuseCode code)
{
    const struct peer_info *known = links_peer(o->links, link);

    if (known == NULL) /* refused, or closed for silence before */
        return;
    struct peer_info peer = *known;
    if (why == LINK_END_BROKEN) {
        if (o->listener.broken != NULL)
            o->listener.broken(o->listener.context, link);
        why = LINK_END_CLOSED;
    }
    links_forget(o->links, link);
    link_down(o, link, &peer, why, code);
}

static bool may_walk(struct overlay *o)
{
    if (bucket_take(&o->walks, o->now_ms, OVERLAY_WALKS_RATE,
                    OVERLAY_WALKS_BURST, 1))
        return true;
    o->stats.walk_limited++;
    return false;
}

static void on_mesh_frame(struct overlay *o, link_id link, const argus_Frame *f)
{
    if ((f->which_body == argus_Frame_forward_join_tag ||
         f->which_body == argus_Frame_shuffle_tag) &&
        !may_walk(o))
        return;
    switch (f->which_body) {
    case argus_Frame_gossip_tag:
    case argus_Frame_ihave_tag:
    case argus_Frame_graft_tag:
    case argus_Frame_prune_tag:
        plumtree_on_frame(o->tree, o->now_ms, link, f, &o->out);
        break;
    case argus_Frame_join_tag:
    case argus_Frame_forward_join_tag:
    case argus_Frame_neighbor_tag:
    case argus_Frame_neighbor_reply_tag:
    case argus_Frame_disconnect_tag:
    case argus_Frame_shuffle_tag:
    case argus_Frame_shuffle_reply_tag:
        membership_on_frame(o->membership, o->now_ms, link, f, &o->out);
        break;
    default:
        if (o->listener.frame == NULL ||
            !o->listener.frame(o->listener.context, link,
                               links_peer(o->links, link), f))
            o->stats.frame_misplaced++;
        break;
    }
}

void overlay_on_frame(struct overlay *o, link_id link, const argus_Frame *frame)
{
    if (!links_on_frame(o->links, o->now_ms, o->wall_us, link, frame, &o->out))
        return;
    o->stats.frame_received++;
    if (frame->hlc != 0)
        (void)hlc_merge(&o->hlc, frame->hlc, o->time_us);
    if (frame->which_body == argus_Frame_ping_tag ||
        frame->which_body == argus_Frame_pong_tag)
        return;

    const struct peer_info *peer = links_peer(o->links, link);
    if (peer->kind == argus_LinkKind_LINK_MESH)
        on_mesh_frame(o, link, frame);
    else if (o->listener.frame == NULL ||
             !o->listener.frame(o->listener.context, link, peer, frame))
        o->stats.frame_misplaced++;
}

void overlay_on_timeout(struct overlay *o)
{
    links_on_timeout(o->links, o->now_ms, o->wall_us, &o->out);
    membership_on_timeout(o->membership, o->now_ms, &o->out);
    plumtree_on_timeout(o->tree, o->now_ms, &o->out);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t overlay_deadline_ms(const struct overlay *o)
{
    uint64_t d = least(plumtree_deadline_ms(o->tree),
                       least(links_deadline_ms(o->links),
                             membership_deadline_ms(o->membership)));

    return least(d, clock_deadline_ms(o->clock));
}

bool overlay_broadcast(struct overlay *o, const uint8_t *payload, size_t size)
{
    if (!plumtree_broadcast(o->tree, o->now_ms, payload, size, &o->out))
        return false;
    links_know(o->links, 0);
    return true;
}

/* As much as most inputs read of each part. */
static void prefetch(const void *from, size_t size)
{
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch((const char *)from + at);
}

void overlay_prefetch(const struct overlay *o, unsigned stage, link_id link)
{
    switch (stage) {
    case 0: prefetch(o, offsetof(struct overlay, walks)); break;
    case 1:
        prefetch(o->links, 2 * LINE_SIZE);
        prefetch(o->membership, LINE_SIZE);
        prefetch(o->tree, 3 * LINE_SIZE);
        prefetch(o->clock, LINE_SIZE);
        break;
    default:
        links_prefetch(o->links, stage - 2, link);
        plumtree_prefetch(o->tree, stage - 2);
        break;
    }
}

void overlay_prefetch_id(const struct overlay *o,
                         const uint8_t id[CONTENT_ID_SIZE])
{
    plumtree_prefetch_id(o->tree, id);
}

/* -------------------------------------------------------------- parts */

struct links *overlay_links(struct overlay *o)
{
    return o->links;
}

struct membership *overlay_membership(struct overlay *o)
{
    return o->membership;
}

struct plumtree *overlay_tree(struct overlay *o)
{
    return o->tree;
}

struct hlc *overlay_hlc(struct overlay *o)
{
    return &o->hlc;
}

struct clock *overlay_clock(struct overlay *o)
{
    return o->clock;
}

const struct overlay_stats *overlay_stats(const struct overlay *o)
{
    return &o->stats;
}
