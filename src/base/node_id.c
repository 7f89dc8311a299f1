#include "base/node_id.h"

void node_id_format(const struct node_id *id, char text[NODE_ID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < NODE_ID_SIZE; i++) {
        text[2 * i] = digits[id->bytes[i] >> 4];
        text[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    text[2 * NODE_ID_SIZE] = '\0';
}
