/* seeds_twin.c - scripts for fuzz_engine.c with a twin. */
#include "seeds_script.h"

static void op_twin_pass(uint16_t ms)
{
    op(TWIN_PASS, (uint32_t)ms << 8, 3);
}

/* One bit of one byte is another, in that frame and each `every` behind. */
static void op_twin_fault(uint16_t ms, uint16_t frame, uint16_t at,
                          uint8_t every)
{
    op(TWIN_PASS, (uint32_t)ms << 8 | 1u << prng_below(&prng, 8), 3);
    put_number(frame, 2);
    put_number(at, 2);
    put_number(every, 1);
}

/* They have met when it returns; the script speaks of the first. */
static void op_meet(uint8_t flavor)
{
    op(TURN, flavor, 1);
    op(OPERATOR, 0, 1);
    put_text("10.0.0.0:1");
    op(TURN, 0, 1);
    op_twin_pass(5000);
}

/* All links between them are cut for a while. */
static void op_part(void)
{
    for (uint8_t slot = 55; slot < 64; slot++)
        op(DOWN, (uint64_t)slot << 16 | 0x0100, 3);
}

/* Events that either lacks, and a Retain that differs. */
void seed_twin_events(void)
{
    for (uint8_t small = 0; small < 2; small++) {
        put_number(small ? 5 : 1, 1);
        op_notices(12);
        op(TURN, 1, 1);
        op_notices(12);
        op(TURN, 0, 1);
        op_meet(0);
        for (int turn = 0; turn < 3; turn++) {
            op_part();
            op_notices(5);
            op(TURN, 0, 1);
            op_notices(3);
            op(TURN, 0, 1);
            op_twin_pass(19000);
        }
        op_twin_fault(19000, 60, 40, 7);
        write_seed("engine", small ? "twin_retain" : "twin_events");
    }
}

/* An agent and its aggregator, which loses it. */
void seed_twin_values(void)
{
    put_number(2, 1);
    op_meet(1);
    for (uint8_t n = 0; n < 12; n++) {
        op(VALUES, (uint64_t)n << 8 | 3, 2);
        put_number(0x01020304u + n * 0x01010101u, 4);
        op_twin_pass(600);
        op(TURN, 0, 1);
        op(TOKENS, 0x00000f, 3); /* seen */
        op(TOKENS, 0x020000, 3);
        op(TURN, 0, 1);
        if (n == 7)
            op_part();
    }
    op_twin_fault(9000, 30, 12, 3);
    op(STOP, 0, 1);
    op_twin_pass(3000);
    write_seed("engine", "twin_values");
}

static void op_bundle(uint32_t flags_name_size)
{
    op(PUSH, 0, 1);
    put_number(flags_name_size, 3);
}

/* Bundles of several chunks, newer ones, and one whose content is nowhere. */
void seed_twin_bundles(void)
{
    put_number(1, 1);
    op_bundle(0x110040);
    op_bundle(0x010102);
    op_meet(1);
    op_twin_pass(19000);
    op_part();
    op_bundle(0x010103);
    op(TURN, 0, 1);
    op_bundle(0x010004);
    op(PUSH, 1, 1);
    put_number(0x010240, 3);
    op(TURN, 0, 1);
    for (int i = 0; i < 3; i++)
        op_twin_pass(19000);
    op_bundle(0x110150);
    op_twin_fault(19000, 20, 300, 5);
    op_twin_pass(19000);
    write_seed("engine", "twin_bundles");
}

/* Records and reports that one of them was told of, then both. */
void seed_twin_members(void)
{
    put_number(1, 1);
    op_neighbor();
    for (uint8_t who = 2; who < 9; who++)
        op_record(who, 4, who);
    op_report(1, 2, 2);
    op_report(3, 4, 3);
    op(TURN, 3, 1);
    op_neighbor();
    for (uint8_t who = 5; who < 11; who++)
        op_record(who, 4, 1);
    op(TURN, 0, 1);
    op_meet(1);
    op_twin_pass(19000);
    for (int i = 0; i < 4; i++) {
        op_part();
        op_record(3, 4, (uint8_t)(20 + i));
        op(TURN, 0, 1);
        op_record(4, 4, (uint8_t)(30 + i));
        op(TURN, 0, 1);
        op_twin_fault(19000, (uint16_t)(70 + 9 * i), (uint16_t)(9 * i), 11);
    }
    write_seed("engine", "twin_members");
}

/* More events than one answer lists: they go in pieces. */
void seed_twin_pieces(void)
{
    for (uint8_t turned = 0; turned < 2; turned++) {
        put_number(1, 1);
        for (int i = 0; i < 90; i++) {
            op(NOTICE, 1, 1);
            put_text("");
        }
        op(TURN, 1, 1);
        op_notices(10);
        op(TURN, 0, 1);
        if (turned == 0) {
            op_meet(0);
        } else { /* the other one dials */
            op(OPERATOR, 0, 1);
            put_text("10.0.0.12:1");
        }
        op_twin_pass(19000);
        op_twin_pass(19000);
        write_seed("engine", turned ? "twin_pieces_dialed" : "twin_pieces");
    }
}
