/* full.c - everyone known is a neighbor. See membership.h.
 *
 * Who is known: whoever the directory offers, replies, shuffles and the walks
 * of joiners name. Each node dials those it lacks; of two dials that cross one
 * stays. Beyond MEMBERSHIP_NEIGHBORS_MAX the mesh is no longer full, but still
 * one: who has nobody insists and takes a place. */
#include "core/membership_impl.h"

const struct strategy strategy_full = {
    .name = "full",
    .limit = membership_neighbors_max,
    .passive_max = membership_everyone,
    .is_candidate = membership_anyone,
    .may_hold = membership_anyone,
    .want = membership_want_all,
    .insists = membership_insists_alone,
    .has_room = membership_has_place,
    .victim = membership_random_victim,
    .start = membership_start_timers,
    .on_joined = membership_tell_joined,
    .on_forward_join = membership_keep_joiner,
    .on_shuffle = membership_stop_shuffle,
    .on_timeout = membership_seek_timeout,
    .deadline_ms = membership_seek_ms,
};
