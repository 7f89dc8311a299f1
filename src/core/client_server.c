/* client_server.c - aggregators hold each other, agents hold aggregators. See
 * membership.h.
 *
 * An agent has CLIENT_SERVERS neighbors, aggregators all, and takes another
 * when one dies; it holds no agent. So what an agent broadcasts reaches all by
 * its aggregators. Whoever joins by an agent is told of the aggregators that it
 * knows.
 *
 * An aggregator holds all aggregators and whichever agents come. It keeps
 * RESERVED places for its own kind; an agent that has nobody takes the place of
 * another agent, which most likely has other aggregators. */
#include "core/membership_impl.h"

/** Places that agents cannot take. */
#define RESERVED 32

static bool is_aggregator(argus_Role role)
{
    return role == argus_Role_ROLE_AGGREGATOR;
}

static uint32_t limit(const struct membership_options *options)
{
    return is_aggregator(options->role) ? MEMBERSHIP_NEIGHBORS_MAX
                                        : CLIENT_SERVERS;
}

static bool is_candidate(const struct membership *v, argus_Role role)
{
    (void)v;
    return is_aggregator(role);
}

static bool may_hold(const struct membership *v, argus_Role role)
{
    return is_aggregator(v->options.role) || is_aggregator(role);
}

static bool is_agent_held(const struct hlink *hl)
{
    return hl->state == HLINK_ACTIVE && !is_aggregator(hl->peer.role);
}

static bool has_room(const struct membership *v, argus_Role role)
{
    uint32_t agents = 0;

    if (is_aggregator(role) || !is_aggregator(v->options.role))
        return v->active_count < v->limit;
    for (uint32_t i = 0; i < v->links_count; i++)
        agents += is_agent_held(&v->links[i]);
    return v->active_count < v->limit && agents < v->limit - RESERVED;
}

static struct hlink *victim(struct membership *v, const struct hlink *newcomer)
{
    struct hlink *chosen = NULL;
    uint32_t ties = 0;

    if (!is_aggregator(v->options.role))
        return membership_random_victim(v, newcomer);
    for (uint32_t i = 0; i < v->links_count; i++)
        if (is_agent_held(&v->links[i]) &&
            !node_id_is_equal(&v->links[i].peer.id, &newcomer->peer.id) &&
            prng_below(&v->prng, ++ties) == 0)
            chosen = &v->links[i];
    return chosen;
}

/* Nobody looks for agents. */
static void on_joined(struct membership *v, struct hlink *hl,
                      struct actions *out)
{
    if (is_aggregator(hl->peer.role))
        membership_tell_joined(v, hl, out);
}

const struct strategy strategy_client_server = {
    .name = "client-server",
    .limit = limit,
    .passive_max = membership_everyone,
    .is_candidate = is_candidate,
    .may_hold = may_hold,
    .want = membership_want_all,
    .insists = membership_insists_alone,
    .has_room = has_room,
    .victim = victim,
    .start = membership_start_timers,
    .on_joined = on_joined,
    .on_forward_join = membership_keep_joiner,
    .on_shuffle = membership_stop_shuffle,
    .on_timeout = membership_seek_timeout,
    .deadline_ms = membership_seek_ms,
};
