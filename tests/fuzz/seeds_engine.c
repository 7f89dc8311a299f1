/* seeds_engine.c - scripts for fuzz_engine.c. */
#include "seeds_script.h"

#include <stdio.h>
#include <string.h>

/* Scripts by chance; the fuzzer does the rest. In front what every life has: a
 * neighbor, and links of the other kinds. */
void seed_engine(void)
{
    for (unsigned n = 0; n < 6; n++) {
        char name[16];
        put_number(n | 8, 1);
        for (uint64_t slot = 1; slot <= 10; slot++) {
            put_number(1, 1); /* accept: slot, who, kind */
            put_number(slot << 16 | slot << 8 | (slot - 1) % 5, 3);
        }
        put_number(7, 1); /* a neighbor */
        put_number(0x010141, 3);
        for (int i = 0; i < 60; i++) {
            uint64_t word = prng_next(&prng);
            put_number(word % 22, 1);
            put_number(word >> 8, 1 + prng_below(&prng, 5));
        }
        (void)snprintf(name, sizeof name, "script%u", n);
        write_seed("engine", name);
    }
    put_number(1, 1);
    for (pb_size_t tag = argus_Frame_ping_tag; tag <= argus_Frame_key_proof_tag;
         tag++) {
        size_t size = make(argus_Frame_fields, tag, false, bytes, sizeof bytes);
        put_number(1, 1); /* accept */
        put_number(tag, 1);
        put_number(tag, 1);
        put_number(tag < argus_Frame_digest_tag          ? 0
                   : tag < argus_Frame_series_defs_tag   ? 2
                   : tag < argus_Frame_bundle_digest_tag ? 1
                                                         : 4,
                   1);
        put_number(5, 1); /* frame */
        put_number(tag, 1);
        put_part(bytes, size);
    }
    write_seed("engine", "frames");
}

void seed_agent(void)
{
    put_number(2, 1);
    op_neighbor();
    op_record(5, 6, 1); /* aggregators */
    op_record(6, 6, 1);
    op(VALUES, 0x0003, 2);
    put_number(0x01020304, 4);
    op(DIALED, 0x000203, 3);
    op(DIALED, 0x000303, 3);
    op(DIALED, 0x000403, 3);
    for (uint8_t n = 1; n < 5; n++) {
        op(VALUES, (uint64_t)n << 8 | 1, 2);
        put_number(0x0506u + n, 2);
        op(PASS, 100, 2);
        for (uint8_t slot = 2; slot < 5; slot++)
            op(ACK, (uint32_t)slot << 24 | (uint32_t)n << 16 | 0x0400, 4);
    }
    op(DRAINED, 2, 1);
    op(DOWN, 0x020100, 3);
    op(PASS, 3000, 2);
    op(DIALED, 0x000503, 3);
    op(VALUES, 0x0700, 2);
    put_number(9, 1);
    op_record(5, 22, 2); /* leaves */
    op(STOP, 0, 1);
    op(PASS, 40000, 2);
    write_seed("engine", "agent");
}

void seed_aggregator(void)
{
    put_number(1, 1);
    op_accept(2, 2, METRICS);
    op(SERIES, 0x020b, 2); /* gauges */
    put_number(0x01020304, 4);
    for (uint8_t n = 1; n < 5; n++) {
        op(BATCH, (uint64_t)2 << 16 | 4u << 8 | 0x40, 3);
        put_number(n, 1);
        put_number(0x0100u + n * 10u, 2);
        for (uint8_t i = 0; i < 4; i++)
            put_number((i + 1u) << 8 | n, 2);
        op(TOKENS, 0x00010f, 3); /* seen */
        op(PASS, 30, 2);
    }
    op(TOKENS, 0x020000, 3); /* the queue moved on */
    op(PASS, 1500, 2);
    op(TOKENS, 0x010104, 3); /* passed by */
    memset(&m, 0, sizeof m);
    m.frame.which_body = argus_Frame_release_tag;
    (void)strcpy(m.frame.body.release.host, "h0");
    size_t size = pack(argus_Frame_fields, bytes, sizeof bytes);
    op(FRAME, 2, 1);
    put_part(bytes, size);
    op(DOWN, 0x020100, 3);
    op_accept(3, 2, METRICS);
    op(SERIES, 0x030b, 2);
    put_number(0x01020304, 4);
    op(BATCH, (uint64_t)3 << 16 | 4u << 8 | 0x40, 3); /* out of turn */
    put_number(7, 1);
    put_number(0x0100, 2);
    put_number(0x0101020103010401, 8);
    op_accept(4, 4, METRICS);
    op(SERIES, 0x040b, 2);
    put_number(0x00010203, 4); /* named out of turn */
    op(OPERATOR, 3, 1);
    put_text("h0");
    op(PASS, 40000, 2);
    write_seed("engine", "aggregator");
}

void seed_bundles(void)
{
    put_number(0, 1);
    op_neighbor();
    op(PUSH, 0, 1);
    put_number(0x000005, 3); /* flags, name, size */
    op(PUSH, 0, 1);
    put_number(0x000009, 3);
    op_accept(2, 2, BUNDLE);
    op(BUNDLE_SESSION, 0x020000, 3); /* digest */
    op(BUNDLE_SESSION, 0x020200, 3); /* a chunk is wanted */
    op(BUNDLE_SESSION, 0x028100, 3); /* a want */
    op(BUNDLE_ITEMS, 2, 1);
    put_number(0x000107, 3);
    op(DIALED, 0x000301, 3);
    op(DIALED, 0x000401, 3);
    op(BUNDLE_SESSION, 0x030301, 3);
    put_text("chunk");
    op(BUNDLE_SESSION, 0x040301, 3);
    put_text("");
    op(PASS, 5000, 2);
    op(STATES, 1, 1);
    put_text("no such file");
    put_text("");
    op(DOWN, 0x030100, 3);
    op(PASS, 40000, 2);
    op(DIALED, 0x000501, 3);
    op(OPERATOR, 3, 1);
    put_text("web");
    write_seed("engine", "bundles");
}

void seed_members(void)
{
    put_number(8, 1);
    op_neighbor();
    op_record(2, 4, 1);
    op_record(3, 4, 1);
    op_record(4, 0x64, 2);
    op_report(1, 2, 2); /* suspect */
    op_report(3, 2, 3); /* offline */
    op_report(3, 0, 3); /* and we ourselves */
    op_accept(2, 2, SYNC);
    op(DIGEST, 0x020202, 3);
    put_number(0x01050305, 4);
    op(DIGEST, 0x020302, 3); /* a want */
    put_number(0x0204, 2);
    op_accept(3, 3, MESH);
    op(MEMBERSHIP, 0x030300, 3); /* join */
    op(MEMBERSHIP, 0x010411, 3); /* shuffles and the like */
    op(MEMBERSHIP, 0x010512, 3);
    op(DOWN, 0x010100, 3);
    op(DIAL_FAILED, 0x000200, 3);
    op(PASS, 5000, 2);
    op(DIALED, 0x000404, 3);
    op(DIALED, 0x000505, 3);
    op(DIAL_FAILED, 0x010300, 3);
    op(NOTICE, 1, 1);
    put_text("it is so");
    op(PASS, 50000, 2);
    op(OPERATOR, 0, 1);
    put_text("10.0.0.9:1");
    op(OPERATOR, 1, 1);
    put_text("");
    op(PASS, 3000, 2);
    write_seed("engine", "members");
}

/* Each message of the membership, from somebody who is a neighbor and from
 * somebody who is not yet. */
void seed_membership(void)
{
    static const uint8_t flags[] = {50, 1,  64,   54, 5,   6,    0,  2,
                                    65, 66, 0x82, 4,  130, 0x43, 67, 3};

    put_number(4, 1); /* small views */
    op_neighbor();
    for (uint8_t i = 0; i < sizeof flags; i++) {
        uint8_t slot = (uint8_t)(2 + 2 * i);
        op_accept(slot, slot, MESH);
        op(MEMBERSHIP, (uint64_t)slot << 16 | (uint64_t)slot << 8 | flags[i],
           3);
        op_accept(slot + 1, slot + 1, MESH);
        op(MEMBERSHIP, (uint64_t)(slot + 1) << 16 | 0x41, 3);
        op(MEMBERSHIP,
           (uint64_t)(slot + 1) << 16 | (uint64_t)slot << 8 | flags[i], 3);
        op(PASS, 300, 2);
    }
    op(PASS, 20000, 2);
    for (uint8_t dial = 0; dial < 6; dial++) {
        uint8_t slot = (uint8_t)(50 + dial);
        op(DIALED, (uint64_t)dial << 16 | (uint64_t)slot << 8 | slot, 3);
        op(MEMBERSHIP,
           (uint64_t)slot << 16 | (dial % 2 == 0 ? 66u : 3u) | 0x0700, 3);
        op(MEMBERSHIP, (uint64_t)slot << 16 | 0x0706, 3);
    }
    op(PASS, 20000, 2);
    write_seed("engine", "membership");
}

/* What is broadcast, and is refused, stale, or of this node itself. */
void seed_statements(void)
{
    uint8_t who = 100;

    put_number(1, 1);
    op_other_neighbor(who++);
    op_record(2, 4, 1);
    op_other_neighbor(who++);
    op_record(2, 4, 1);
    op_other_neighbor(who++);
    op_record(2, 8, 200); /* absurd */
    op_other_neighbor(who++);
    op_record(3, 4, 5);
    op_other_neighbor(who++);
    op_record(3, 4, 4); /* stale */
    op_other_neighbor(who++);
    op_record(0, 4, 77); /* of us */
    op_other_neighbor(who++);
    op_report(2, 3, 2); /* suspect */
    op_other_neighbor(who++);
    op_report(4, 3, 2); /* a stranger's word */
    op_other_neighbor(who++);
    op_report(1, 3, 2); /* a further witness */
    op_other_neighbor(who++);
    op_report(3, 3, 2); /* of himself */
    op_other_neighbor(who++);
    op_report(2, 9, 2); /* of a stranger */
    op_other_neighbor(who++);
    op_report(2, 3, 1); /* no such report */
    op_other_neighbor(who++);
    op_report(2, 3, 3); /* offline */
    op_other_neighbor(who++);
    op_report(2, 3, 2); /* weaker */
    op_other_neighbor(who++);
    op_report(1, 0, 2); /* of us */
    op_other_neighbor(who++);
    op_record(3, 20, 9); /* leaves */
    op_other_neighbor(who++);
    op_report(2, 3, 3); /* too late */
    op_other_neighbor(who++);
    op_raw_statement(5, argus_Statement_fields, argus_Statement_record_tag);
    op_other_neighbor(who++);
    op_raw_statement(5, argus_Statement_fields, argus_Statement_report_tag);
    op_other_neighbor(who++);
    op_raw_statement(5, argus_Statement_fields, argus_Statement_bundle_tag);
    for (uint8_t n = 0; n < 5; n++) { /* of each severity; 0, 3: none */
        op_other_neighbor(who++);
        op_stated_event(1, 2, n, n);
    }
    op_accept(2, 2, MESH);
    op(MEMBERSHIP, 0x020241, 3);
    op_stated_event(2, 2, 4, 4); /* again, from another */
    op_other_neighbor(who++);
    for (uint8_t n = 0; n < 30; n++)
        op_stated_event(1, 60, 4, n); /* more than a stranger may */
    op_other_neighbor(who++);
    op(TREE, 0x010000, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010100, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010200, 3);
    op_other_neighbor(who++);
    op(TREE, 0x020203, 3); /* one that is here */
    for (int i = 0; i < 40; i++)
        op(TREE, 0x010203, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010303, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010300, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010204, 3); /* of a wrong size */
    op(PASS, 3000, 2);
    write_seed("engine", "statements");
}

/* Sessions that break the rules, each in its own way. */
void seed_rules(void)
{
    static const uint32_t first[] = {
        0x0200c3, /* no beginning */
        0x020083, /* an end that is none */
        0x0200b3, /* ranges */
        0x0201ff, /* keys out of turn */
        0x020203, /* a want */
        0x020308, /* items that nobody wanted */
    };

    put_number(1, 1);
    op_neighbor();
    op_notices(4);
    for (uint8_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        op_accept(2, (uint8_t)(2 + i), SYNC);
        op(DIGEST, 0x020200, 3);
        op(EVENT_SESSION, first[i], 3);
        if ((first[i] >> 8 & 3) == 3) {
            put_number(0x100101, 3);
            put_text("of another");
        }
        op(DOWN, 0x020100, 3);
    }
    op_accept(3, 20, SYNC); /* pages */
    op(DIGEST, 0x030203, 3);
    put_number(0x010501020502, 6);
    op_accept(4, 21, SYNC);
    op(DIGEST, 0x040203, 3); /* out of order */
    put_number(0x050101010301, 6);
    op_accept(5, 22, SYNC);
    op(EVENT_SESSION, 0x050003, 3); /* before records */
    op_accept(6, 23, SYNC);
    op(MEMBERSHIP, 0x060000, 3); /* no frame of such a link */
    op_accept(7, 24, SYNC);
    op(STATEMENT, 0x070102, 3); /* items nobody asked for */
    put_number(0, 1);
    put_number(0x040101, 3);
    put_number(0, 4);
    for (uint8_t n = 0; n < 6; n++) { /* columns of a batch */
        uint8_t slot = (uint8_t)(10 + n);
        op_accept(slot, slot, METRICS);
        op(SERIES, (uint64_t)slot << 8 | 0x0b, 2);
        put_number(0x01020304, 4);
        op(BATCH,
           (uint64_t)slot << 16 | (n == 0 ? 0u : 2u) << 8 |
               (n == 1 ? 0x10u : 0x20u),
           3);
        put_number(n == 2 ? 3 : 1, 1);
        put_number(n == 3 ? 0xff00 : 0x0101, 2);
        if (n != 0)
            put_number(n == 4 ? 0x01010901 : 0x01010201, 4);
        op(SERIES, (uint64_t)slot << 8 | 0x0b, 2); /* other series */
        put_number(0x02010403, 4);
        op(SERIES, (uint64_t)slot << 8 | 0x20, 2); /* no such source */
        put_number(1, 1);
    }
    write_seed("engine", "rules");
}

/* What differs is looked for by somebody who dialed us. */
void seed_event_answers(void)
{
    put_number(0, 1);
    op_neighbor();
    for (int i = 0; i < 3; i++) {
        op(NOTICE, 1, 1);
        put_text("it is so");
        op(PASS, 100, 2);
    }
    op_accept(2, 2, SYNC);
    op(DIGEST, 0x020200, 3); /* the only page */
    op(EVENT_SESSION, 0x020003, 3);
    op(EVENT_SESSION, 0x020202, 3); /* a want: two keys that it listed */
    op(EVENT_SESSION, 0x020003, 3);
    op(EVENT_SESSION, 0x020300, 3); /* what we lack */
    put_number(0x100101, 3);
    put_text("of another");
    op(EVENT_SESSION, 0x020200, 3);
    op(EVENT_SESSION, 0x020004, 3); /* with more Retain than here */
    op(EVENT_SESSION, 0x020023, 3); /* two ranges */
    op(EVENT_SESSION, 0x020400, 3); /* we have all that it has */
    op(EVENT_SESSION, 0x0200c3, 3); /* not sound */
    write_seed("engine", "event_answers");
}

/* We dial: the other side lists what it has. */
void seed_event_questions(void)
{
    put_number(0, 1);
    op_neighbor();
    op_record(2, 4, 1);
    op(NOTICE, 1, 1);
    put_text("it is so");
    op(PASS, 0x8100, 2);
    for (uint8_t dial = 0; dial < 8; dial++)
        op(DIALED, (uint64_t)dial << 16 | (uint64_t)(2 + dial % 5) << 8 | 2, 3);
    for (uint8_t slot = 2; slot < 7; slot++) {
        op(DIGEST, (uint64_t)slot << 16 | 0x0300, 3); /* a want, the last */
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0105, 3);
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0113, 3);
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0308, 3);
        put_number(0x100101, 3);
        put_text("of another");
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0183, 3);
    }
    write_seed("engine", "event_questions");
}

/* What a session about bundles asks for, gets, and must not have. */
void seed_bundle_rules(void)
{
    put_number(1, 1);
    op_neighbor();
    for (uint8_t slot = 2; slot < 8; slot++) {
        op_accept(slot, slot, BUNDLE);
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | (slot == 7 ? 5 : 3), 3);
        op(BUNDLE_ITEMS, slot | (slot == 6 ? 128u : 0), 1);
        put_number(slot < 4 ? (slot & 1u) << 8 | 7 : 0x020007u + slot, 3);
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | 0x0200, 3);
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | 0x0200, 3); /* again */
    }
    for (uint8_t dial = 0; dial < 12; dial++)
        op(DIALED, (uint64_t)dial << 16 | (uint64_t)(20 + dial) << 8, 3);
    for (uint8_t slot = 20; slot < 32; slot++) {
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | 0x0300, 3);
        put_text("");
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | 0x0301, 3);
        put_text("another");
    }
    op(PASS, 20000, 2);
    write_seed("engine", "bundle_rules");
}

/* Sums of all, and of ranges: both sides of a session, and what is out of
 * turn. */
void seed_sums(void)
{
    put_number(0, 1);
    op_neighbor();
    for (uint8_t who = 2; who < 7; who++)
        op_record(who, 4, 1);
    op(PASS, 0x8100, 2);
    for (uint8_t dial = 0; dial < 8; dial++)
        op(DIALED, (uint64_t)dial << 16 | (uint64_t)(2 + dial % 5) << 8 | 2, 3);
    op(SUMS, 0x020400, 3); /* of 16 ranges, in all of which we differ */
    op(DIGEST, 0x020300, 3);
    op(SUMS, 0x030804, 3);
    op(DIGEST, 0x030101, 3); /* a want that is not the last */
    put_number(5, 1);
    op(SUMS, 0x040302, 3); /* three */
    op(SUMS, 0x050001, 3); /* the same */
    op(SUMS, 0x050001, 3); /* twice */
    for (uint8_t slot = 10; slot < 13; slot++) {
        op_accept(slot, slot, SYNC);
        op(SUMS, (uint64_t)slot << 16 | (slot & 1), 3);
        op(DIGEST, (uint64_t)slot << 16 | 0x0200, 3);
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0003, 3);
    }
    op_accept(13, 13, SYNC);
    op(SUMS, 0x0d0100, 3); /* of two ranges, who dialed */
    write_seed("engine", "sums");
}

/* Neighbors compare over the link that is there. */
void seed_summaries(void)
{
    put_number(0, 1);
    op_neighbor();
    for (int i = 0; i < 20; i++) { /* more than share a signature */
        op(NOTICE, 1, 1);
        put_text("it is so");
    }
    for (int i = 0; i < 4; i++)
        op(PASS, 0x8100, 2); /* until we say what we keep */
    op(SUMMARY, 0x010000, 3);
    op(SUMMARY, 0x010100, 3);
    op(SUMMARY, 0x010200, 3);
    op(SUMMARY, 0x010404, 3); /* a larger Retain */
    op(SUMMARY, 0x010403, 3);
    op(SUMMARY, 0x010443, 3); /* not sound */
    op(SUMMARY, 0x020000, 3); /* no neighbor */
    op_accept(2, 2, MESH);
    op(SUMMARY, 0x020100, 3);
    op(PASS, 5000, 2);
    write_seed("engine", "summaries");
}

/* Can others dial us? And they ask the same. */
void seed_reach(void)
{
    put_number(96, 1); /* Advertise says where */
    op_neighbor();
    for (uint8_t n = 0; n < 6; n++) {
        op(REACH, (uint64_t)1 << 16 | (uint64_t)n << 8 | 0x80 | (n == 5), 3);
        op(DIAL_FAILED, (uint64_t)n << 8 | n, 3);
        op(DIALED, (uint64_t)(2 + n) << 8 | 1, 3);
    }
    op(REACH, 0x010680, 3);
    op(DIAL_FAILED, 0x000600, 3); /* cannot be dialed */
    op(REACH, 0x010780, 3);
    op(DIAL_FAILED, 0x000407, 3); /* no room there */
    op_accept(2, 2, MESH);
    op(MEMBERSHIP, 0x020241, 3);
    op(PASS, 3000, 2);
    for (int turn = 0; turn < 12; turn++) {
        /* own address, by two; then the one at which it is seen */
        const uint8_t outcomes[] = {(uint8_t)(2 + turn % 5),
                                    (uint8_t)(2 + turn % 4),
                                    (uint8_t)(1 + turn % 3)};
        if (turn == 4) {
            op(OPERATOR, 2, 1);
            put_text("");
        }
        for (int i = 0; i < 3; i++) {
            uint8_t outcome = turn == 11 ? 1 : outcomes[i];
            op(REACH, (uint64_t)1 << 16 | outcome, 3);
            op(REACH, (uint64_t)2 << 16 | outcome, 3);
            op(PASS, 300, 2);
        }
        for (int i = 0; i < (turn < 2 ? 1 : 16); i++)
            op(PASS, 0x8000 + 200, 2);
    }
    write_seed("engine", "reach");
}

/* What this node is told where it dialed, and what it did not ask for. */
void seed_asked(void)
{
    put_number(72, 1);       /* has contacts; its pings are answered */
    op(DIALED, 0x000205, 3); /* asked to join */
    op_accept(3, 5, MESH);
    op(MEMBERSHIP, 0x030541, 3); /* who asks the same */
    op(MEMBERSHIP, 0x020503, 3); /* and rejects */
    op(DIALED, 0x000306, 3);
    op(MEMBERSHIP, 0x030642, 3); /* accepts */
    for (uint8_t slot = 4; slot < 8; slot++) {
        op(PASS, 4000, 2);
        op_accept(slot, slot + 4, MESH);
        op(MEMBERSHIP, (uint64_t)slot << 16 | 0x0906, 3); /* a walk's end */
    }
    op(OPERATOR, 1, 1); /* leaves */
    put_text("");
    op_accept(20, 20, MESH);
    op(MEMBERSHIP, 0x141400, 3);
    write_seed("engine", "asked");
}

/* More that join at once than are taken in. */
void seed_joins(void)
{
    put_number(4, 1); /* small views */
    for (uint8_t slot = 1; slot < 28; slot++) {
        op_accept(slot, slot, MESH);
        op(MEMBERSHIP, (uint64_t)slot << 16 | (uint64_t)slot << 8, 3);
    }
    write_seed("engine", "joins");
}

static void op_answer(uint8_t outcome, uint16_t ms)
{
    op(REACH, outcome, 3); /* by whoever was asked */
    op(PASS, ms, 2);
}

/* Somebody has no time; at its own address it is not reached, where it is seen
 * it is, then at its own too. */
void seed_reached(void)
{
    put_number(96, 1);
    op_neighbor();
    op_accept(2, 2, MESH);
    op(MEMBERSHIP, 0x020241, 3);
    op(OPERATOR, 2, 1);
    put_text("");
    op(PASS, 2500, 2);
    op_answer(6, 8000);
    op_answer(2, 300);
    op_answer(3, 300);
    op_answer(1, 300);
    for (int i = 0; i < 19; i++)
        op(PASS, 0x8000 + 200, 2);
    for (int i = 0; i < 6; i++)
        op_answer(1, 4000);
    write_seed("engine", "reached");
}

static void op_item(uint8_t who, uint8_t flags, uint8_t type)
{
    op(STATEMENT, 2u << 16 | (uint32_t)who << 8 | flags, 3);
    put_number(type, 1);
}

static void op_item_event(uint8_t who)
{
    op_item(who, 2, 2);
    put_number(0x100100, 3);
    put_text("of another");
}

/* What was wanted in a session comes: news, which go on, and what ends it. */
void seed_items(void)
{
    for (uint8_t is_damaged = 0; is_damaged < 2; is_damaged++) {
        put_number(1, 1);
        op_neighbor();
        op_accept(3, 8, SYNC); /* a session that ends well */
        op(DIGEST, 0x030200, 3);
        op(DOWN, 0x03000b, 3);
        op_accept(2, 5, SYNC);
        op(DIGEST, 0x020203, 3);
        put_number(0x050106010701, 6);
        op_item(5, 2, 0); /* its own record, as of one that just began */
        put_number(0x040101, 3);
        put_number(0, 4);
        op_item(6, 2, 1); /* a report */
        put_number(0x05020101, 4);
        if (is_damaged) {
            op_item(6, 10, 0);
            put_number(0x040101, 3);
            put_number(0, 4);
        } else {
            op_item_event(6); /* no item of this part */
        }
        write_seed("engine", is_damaged ? "items_damaged" : "items");
    }
}

static void op_event_items(uint8_t n, uint32_t event)
{
    op(EVENT_SESSION, 0x020300u | n, 3);
    put_number(event, 3);
    put_text("of another");
}

/* Events that come in a session: an alarm, which then is broadcast too; one
 * that is none. */
void seed_event_items(void)
{
    put_number(1, 1);
    op_neighbor();
    op_notices(3);
    op_accept(2, 2, SYNC);
    op(DIGEST, 0x020200, 3);
    op(EVENT_SESSION, 0x020018, 3); /* two ranges, the second the same */
    op_event_items(0, 0x100100);
    op_stated_event(1, 1, 0x10, 1);
    op_event_items(0, 0x0f0200);
    write_seed("engine", "event_items");
}

/* Where this node asks: keys of all, of a part, none; what comes for them. */
void seed_event_keys(void)
{
    static const uint8_t keys[] = {0x13, 0x03, 0x83, 0x43, 0x23};

    for (uint8_t i = 0; i < sizeof keys; i++) {
        char name[16];
        put_number(0, 1);
        op_neighbor();
        op_record(2, 4, 1);
        op_notices(1);
        op(PASS, 0x8100, 2);
        for (uint8_t dial = 0; dial < 8; dial++)
            op(DIALED, (uint64_t)dial << 16 | (2u + dial % 5) << 8 | 2, 3);
        for (uint32_t slot = 2; slot < 7; slot++) {
            op(DIGEST, slot << 16 | 0x0300, 3); /* a want, the last */
            op(EVENT_SESSION, slot << 16 | 0x0100u | keys[i], 3);
            for (uint8_t turn = 0; turn < 4; turn++) { /* the second: last */
                op(EVENT_SESSION, slot << 16 | 0x0300 | (turn & 1u) << 3, 3);
                put_number(0x100100u + (turn & 2u) * 0x80u, 3);
                put_text("of another");
            }
        }
        (void)snprintf(name, sizeof name, "event_keys%u", i);
        write_seed("engine", name);
    }
}

static void op_report_of(uint8_t who, uint8_t state, uint8_t version)
{
    op(STATEMENT, (uint64_t)who << 8 | 1u << 16, 3);
    put_number(1, 1);
    put_number(0x02000100u | (uint32_t)state << 16 | version, 4);
}

/* Reports of one member, each judged by those before; one is forgotten. */
void seed_reports(void)
{
    put_number(64, 1);
    op_neighbor();
    for (uint8_t who = 2; who < 5; who++)
        op_record(who, 4, 1);
    op_report_of(3, 2, 1); /* suspect */
    op_report_of(4, 2, 1); /* a further witness */
    op_report_of(4, 2, 2); /* of what it said since */
    op_report_of(3, 3, 1); /* of before */
    op_report(3, 4, 3);    /* offline */
    for (int i = 0; i < 6; i++)
        op(PASS, 0x8000 + 200, 2);
    op_record(4, 4, 1); /* long known, and forgotten */
    write_seed("engine", "reports");
}
