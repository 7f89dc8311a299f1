#include "seeds_script.h"

void op(uint8_t operation, uint64_t arguments, size_t size)
{
    put_number(operation, 1);
    put_number(arguments, size);
}

void op_accept(uint8_t slot, uint8_t who, uint8_t kind)
{
    op(ACCEPT, (uint32_t)slot << 16 | (uint32_t)who << 8 | kind, 3);
}

void op_neighbor(void)
{
    op_accept(1, 1, MESH);
    op(MEMBERSHIP, 0x010141, 3);
}

void op_other_neighbor(uint8_t who)
{
    op_accept(1, who, MESH);
    op(MEMBERSHIP, 0x010041u | (uint32_t)who << 8, 3);
}

void op_record(uint8_t who, uint8_t flags, uint8_t version)
{
    op(STATEMENT, (uint64_t)who << 8 | 1u << 16, 3); /* slot 1, gossip */
    put_number(0, 1);                                /* a record */
    put_number((uint32_t)flags << 16 | 1u << 8 | version, 3);
    put_number(0, 4);
}

void op_report(uint8_t who, uint8_t subject, uint8_t state)
{
    op(STATEMENT, (uint64_t)who << 8 | 1u << 16, 3);
    put_number(1, 1);
    put_number((uint32_t)subject << 24 | (uint32_t)state << 16 | 0x0101, 4);
}

void op_notices(int count)
{
    for (int i = 0; i < count; i++) {
        op(NOTICE, 1, 1);
        put_text("it is so");
        op(PASS, 30, 2);
    }
}

void op_raw_statement(uint8_t who, const pb_msgdesc_t *fields, pb_size_t tag)
{
    op(STATEMENT, (uint64_t)who << 8 | 1u << 16, 3);
    put_number(4, 1);
    put_part(bytes, make(fields, tag, false, bytes, sizeof bytes));
}

void op_stated_event(uint8_t slot, uint8_t who, uint8_t severity,
                     uint8_t number)
{
    op(STATEMENT, (uint64_t)slot << 16 | (uint64_t)who << 8, 3);
    put_number(2, 1);
    put_number((uint32_t)severity << 16 | (uint32_t)number << 8, 3);
    put_text("of another");
}
