/* test.h - what every test file shares. A file test_<module>.c defines
 * suite_<module>, an array of CU_TestInfo that ends with CU_TEST_INFO_NULL, and
 * has its line in TEST_SUITES. */
#ifndef ARGUS_TESTS_TEST_H
#define ARGUS_TESTS_TEST_H

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>

#include <CUnit/CUnit.h>

/* clang-format off: one suite a line, in the order they run */
#ifdef TEST_PLUGIN /* with stand-ins for collectd and the runtime */
#define TEST_SUITES(X)                                                         \
    X(config)                                                                  \
    X(bridge)                                                                  \
    X(workers)                                                                 \
    X(argus)                                                                   \
    X(worker_vet)
#else
#define TEST_SUITES(X)                                                         \
    X(base)                                                                    \
    X(frame)                                                                   \
    X(beacon)                                                                  \
    X(hello)                                                                   \
    X(pair)                                                                    \
    X(hlc)                                                                     \
    X(clock)                                                                   \
    X(links)                                                                   \
    X(quarantine)                                                              \
    X(hyparview)                                                               \
    X(plumtree)                                                                \
    X(overlay)                                                                 \
    X(event_sync)                                                              \
    X(timeline)                                                                \
    X(directory)                                                               \
    X(departures)                                                              \
    X(failure)                                                                 \
    X(publishers)                                                              \
    X(sync)                                                                    \
    X(reach)                                                                   \
    X(router)                                                                  \
    X(spool)                                                                   \
    X(intake)                                                                  \
    X(routing)                                                                 \
    X(target)                                                                  \
    X(content)                                                                 \
    X(orders)                                                                  \
    X(bundles)                                                                 \
    X(bundle_sync)                                                             \
    X(engine)                                                                  \
    X(engine_bundles)                                                          \
    X(engine_orders)                                                           \
    X(alarms)                                                                  \
    X(crowd)                                                                   \
    X(mesh)                                                                    \
    X(sim)                                                                     \
    X(strategies)                                                              \
    X(insiders)                                                                \
    X(mailbox)                                                                 \
    X(identity)                                                                \
    X(store)                                                                   \
    X(operator_key)                                                            \
    X(keyring)                                                                 \
    X(security)                                                                \
    X(resolve)                                                                 \
    X(transport)                                                               \
    X(guard)                                                                   \
    X(trim)                                                                    \
    X(gate)                                                                    \
    X(worker)                                                                  \
    X(apply)                                                                   \
    X(runtime)                                                                 \
    X(control)                                                                 \
    X(table)                                                                   \
    X(cli)                                                                     \
    X(cli_config)                                                              \
    X(cli_doctor)                                                              \
    X(cli_orders)
#endif
/* clang-format on */

#define TEST_SUITE_DECLARE(name) extern CU_TestInfo suite_##name[];
TEST_SUITES(TEST_SUITE_DECLARE)
#undef TEST_SUITE_DECLARE

/** Seed of this run: ARGUS_SEED, or a random one. Printed, so that a failure
 *  can be replayed. */
uint64_t test_seed(void);

#endif
