#include "fuzz_twin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "wire/frame.h"

/** Both worlds get as far, one after the other: to what is due next, or so far
 *  where it is soon. */
#define SLICE_MIN_MS 50
/** Frames carried in one slice; the rest is late. */
#define CARRIED_MAX 500

/* On its way: a frame, or the end of its link. */
struct parcel {
    STAILQ_ENTRY(parcel) next;
    struct world *to;
    link_id link;
    bool is_end;
    argus_RefuseCode code;
    size_t size;
    uint8_t bytes[];
};

static STAILQ_HEAD(, parcel) wire = STAILQ_HEAD_INITIALIZER(wire);
static uint32_t carried;

static struct parcel *put_parcel(const struct world *from,
                                 const struct world_link *l,
                                 const uint8_t *bytes, size_t size)
{
    struct parcel *p = calloc(1, sizeof *p + size);

    if (p == NULL)
        abort();
    p->to = from->other;
    p->link = l->to;
    p->size = size;
    if (size > 0)
        memcpy(p->bytes, bytes, size);
    STAILQ_INSERT_TAIL(&wire, p, next);
    return p;
}

static void on_sent(const struct world *from, const struct world_link *l,
                    const uint8_t *body, size_t size)
{
    (void)put_parcel(from, l, body, size);
}

static void on_end(const struct world *from, const struct world_link *l,
                   argus_RefuseCode code)
{
    struct parcel *p = put_parcel(from, l, NULL, 0);

    p->is_end = true;
    p->code = code;
}

void twin_open(struct world *twin, struct world *own, uint8_t flavor)
{
    struct event start = {.type = EVENT_START};

    world_open(twin, flavor, TWIN_WHO);
    twin->now_ms = own->now_ms;
    twin->wall_us = own->wall_us;
    twin->other = own;
    own->other = twin;
    twin->sent = own->sent = on_sent;
    twin->ended = own->ended = on_end;
    carried = 0;
    world_step(twin, &start);
}

/* ---------------------------------------------------------------- dialing */

static bool is_meant(const struct world_dial *d, const struct world *other)
{
    struct node_id id = world_id(other->who);
    char address[32];

    if (d->has_expected)
        return node_id_is_equal(&d->expected, &id);
    (void)snprintf(address, sizeof address, "10.0.0.%u:1", other->who);
    return strcmp(d->address, address) == 0;
}

static int free_slot(const struct world *w)
{
    for (int i = WORLD_LINKS - 1; i >= 0; i--)
        if (w->links[i].id == 0)
            return i;
    return -1;
}

/* As Hellos go: it is up first where it was accepted. */
static void connect_dial(struct world *from, struct world_dial *d)
{
    struct world *to = from->other;
    int near = free_slot(from), far = free_slot(to);
    struct world_dial dial = *d;

    if (near < 0 || far < 0)
        return;
    d->id = 0;
    link_id accepted = to->last_link + 1, dialed = from->last_link + 1;
    world_twin_link_up(to, (uint32_t)far, from->who, dial.kind, 0, dialed);
    if (to->links[far].id == accepted) {
        world_twin_link_up(from, (uint32_t)near, to->who, dial.kind, dial.id,
                           accepted);
        return;
    }
    struct event failed = {.type = EVENT_DIAL_FAILED,
                           .dial_failed = {dial.id, LINK_END_DENIED,
                                           argus_RefuseCode_REFUSE_BUSY}};
    world_step(from, &failed);
}

static void connect_dials(struct world *from)
{
    for (uint32_t i = 0; i < WORLD_DIALS; i++)
        if (from->dials[i].id != 0 && is_meant(&from->dials[i], from->other))
            connect_dial(from, &from->dials[i]);
}

/* --------------------------------------------------------------- carrying */

static void alter(struct parcel *p, const struct twin_fault *f)
{
    uint32_t n = carried++;

    if (f->change == 0 || p->size == 0 || n < f->frame ||
        (n != f->frame && (f->every == 0 || (n - f->frame) % f->every != 0)))
        return;
    p->bytes[f->at % p->size] ^= f->change;
}

static void deliver(struct parcel *p, const struct twin_fault *fault)
{
    static argus_Frame frame;
    uint32_t slot = 0;

    while (slot < WORLD_LINKS && p->to->links[slot].id != p->link)
        slot++;
    if (slot == WORLD_LINKS)
        return;
    if (p->is_end) {
        p->to->links[slot].to = 0;
        world_link_down(p->to, slot, LINK_END_CLOSED, p->code);
        return;
    }
    alter(p, fault);
    if (frame_decode(p->bytes, p->size, &frame, NULL) == ARGUS_OK)
        world_frame(p->to, slot, &frame);
    else
        world_link_down(p->to, slot, LINK_END_BROKEN,
                        argus_RefuseCode_REFUSE_MALFORMED);
}

static void carry(const struct twin_fault *fault)
{
    for (int i = 0; i < CARRIED_MAX && !STAILQ_EMPTY(&wire); i++) {
        struct parcel *p = STAILQ_FIRST(&wire);
        STAILQ_REMOVE_HEAD(&wire, next);
        deliver(p, fault);
        free(p);
    }
}

static uint32_t slice_ms(const struct world *own, uint32_t left_ms)
{
    uint64_t due = engine_deadline_ms(own->engine);
    uint64_t other = engine_deadline_ms(own->other->engine);
    uint64_t slice = SLICE_MIN_MS;

    if (other < due)
        due = other;
    if (due > own->now_ms + slice)
        slice = due - own->now_ms;
    return slice < left_ms ? (uint32_t)slice : left_ms;
}

void twin_pass(struct world *own, uint32_t ms, const struct twin_fault *fault)
{
    for (uint32_t slice, left = ms; left > 0; left -= slice) {
        slice = slice_ms(own, left);
        world_pass(own, slice);
        world_pass(own->other, slice);
        connect_dials(own);
        connect_dials(own->other);
        carry(fault);
    }
}

void twin_close(struct world *own)
{
    while (!STAILQ_EMPTY(&wire)) {
        struct parcel *p = STAILQ_FIRST(&wire);
        STAILQ_REMOVE_HEAD(&wire, next);
        free(p);
    }
    world_close(own->other);
    world_close(own);
}
