/* seeds.h - what the makers of seeds share: see make_seeds.c. */
#ifndef ARGUS_TESTS_SEEDS_H
#define ARGUS_TESTS_SEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pb.h>

#include "argus.pb.h"
#include "base/prng.h"

extern struct prng prng; /* seeded anew for each maker */

/** The seed that is being written: bytes, a number (big endian, of `size`
 * bytes), and a part as fuzz_part() reads it. */
void put(const void *data, size_t size);
void put_number(uint64_t number, size_t size);
void put_part(const void *data, size_t size);
void put_text(const char *text);
/** It is whole: into a file of that name. */
void write_seed(const char *target, const char *name);

/** A message and room for its encoding. */
union seed_message {
    argus_Frame frame;
    argus_Request request;
    argus_Reply reply;
    argus_Statement statement;
    argus_Order order;
    argus_Signed sealed;
    argus_Manifest manifest;
};
extern union seed_message m;
extern uint8_t bytes[1 << 16];

/** Every field of a message by chance, long or short, of a oneof the field with
 *  that tag; 0: the first. */
void fill(const pb_msgdesc_t *fields, void *message, bool is_long,
          pb_size_t oneof_tag);
/** Encode m. @return the size. */
size_t pack(const pb_msgdesc_t *fields, uint8_t *to, size_t room);
/** Fill and encode m. */
size_t make(const pb_msgdesc_t *fields, pb_size_t tag, bool is_long,
            uint8_t *to, size_t room);

/* The makers, each of seeds for one target. */
void seed_frame(void);
void seed_pair(void);
void seed_engine(void);
void seed_agent(void);
void seed_aggregator(void);
void seed_bundles(void);
void seed_members(void);
void seed_membership(void);
void seed_statements(void);
void seed_rules(void);
void seed_event_answers(void);
void seed_event_questions(void);
void seed_bundle_rules(void);
void seed_sums(void);
void seed_summaries(void);
void seed_reach(void);
void seed_asked(void);
void seed_joins(void);
void seed_reports(void);
void seed_reached(void);
void seed_items(void);
void seed_event_items(void);
void seed_event_keys(void);
void seed_twin_events(void);
void seed_twin_values(void);
void seed_twin_bundles(void);
void seed_twin_members(void);
void seed_twin_pieces(void);
void seed_control(void);
void seed_verbs(void);
void seed_hangups(void);
void seed_conn(void);
void seed_handshakes(void);
void seed_certificates(void);
void seed_rows(void);
void seed_events(void);
void seed_keys(void);
void seed_key_files(void);
void seed_tables(void);
void seed_orders(void);
void seed_vet(void);
void seed_vet_refusals(void);

#endif
