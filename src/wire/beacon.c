#include "wire/beacon.h"

#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>

size_t beacon_encode(const argus_BeaconBody *body,
                     const struct beacon_keys *keys,
                     uint8_t out[BEACON_SIZE_MAX])
{
    argus_Beacon beacon = argus_Beacon_init_zero;
    pb_ostream_t inner =
        pb_ostream_from_buffer(beacon.body.bytes, sizeof beacon.body.bytes);
    pb_ostream_t outer = pb_ostream_from_buffer(out, BEACON_SIZE_MAX);

    if (!pb_encode(&inner, argus_BeaconBody_fields, body))
        return 0;
    beacon.body.size = (pb_size_t)inner.bytes_written;
    if (keys->key != NULL) {
        if (!keys->mac(keys->context, keys->key, beacon.body.bytes,
                       beacon.body.size, beacon.mac.bytes))
            return 0;
        memcpy(beacon.key.bytes, keys->key, BEACON_KEY_SIZE);
        beacon.key.size = BEACON_KEY_SIZE;
        beacon.mac.size = BEACON_MAC_SIZE;
    }
    return pb_encode(&outer, argus_Beacon_fields, &beacon) ? outer.bytes_written
                                                           : 0;
}

/* In the same time, wherever they differ. */
static bool is_same(const uint8_t *a, const uint8_t *b, size_t size)
{
    uint8_t differs = 0;

    for (size_t i = 0; i < size; i++)
        differs |= (uint8_t)(a[i] ^ b[i]);
    return differs == 0;
}

static bool is_authentic(const argus_Beacon *beacon,
                         const struct beacon_keys *keys)
{
    uint8_t mac[BEACON_MAC_SIZE];

    if (keys->key == NULL)
        return beacon->key.size == 0 && beacon->mac.size == 0;
    return beacon->key.size == BEACON_KEY_SIZE &&
           beacon->mac.size == BEACON_MAC_SIZE &&
           keys->mac(keys->context, beacon->key.bytes, beacon->body.bytes,
                     beacon->body.size, mac) &&
           is_same(mac, beacon->mac.bytes, sizeof mac);
}

static bool is_sound(const argus_BeaconBody *body)
{
    return (body->ip.size == 4 || body->ip.size == 16) && body->port > 0 &&
           body->port <= 65535 &&
           (body->role == argus_Role_ROLE_AGENT ||
            body->role == argus_Role_ROLE_AGGREGATOR);
}

enum beacon_verdict beacon_decode(const uint8_t *data, size_t size,
                                  const struct beacon_keys *keys,
                                  argus_BeaconBody *out)
{
    argus_Beacon beacon = argus_Beacon_init_zero;
    argus_BeaconBody body = argus_BeaconBody_init_zero;
    pb_istream_t outer = pb_istream_from_buffer(data, size);

    if (size > BEACON_SIZE_MAX ||
        !pb_decode(&outer, argus_Beacon_fields, &beacon))
        return BEACON_MALFORMED;
    if (!is_authentic(&beacon, keys))
        return BEACON_FORGED;
    pb_istream_t inner =
        pb_istream_from_buffer(beacon.body.bytes, beacon.body.size);
    if (!pb_decode(&inner, argus_BeaconBody_fields, &body) || !is_sound(&body))
        return BEACON_MALFORMED;
    *out = body;
    return BEACON_OK;
}
