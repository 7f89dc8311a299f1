/* sim_graph.h - measures of an undirected graph: paths, clustering, islands. */
#ifndef ARGUS_TESTS_SIM_GRAPH_H
#define ARGUS_TESTS_SIM_GRAPH_H

#include <stdint.h>

#include "base/prng.h"

/* Nodes are numbered from 0. Those next to node i are
 * ends[starts[i]] .. ends[starts[i + 1] - 1]; each edge is there twice. */
struct graph {
    uint32_t nodes;
    uint32_t *starts; /* nodes + 1 */
    uint32_t *ends;
};

struct graph_paths {
    double mean;         /* hops, over all pairs (source, reachable node) */
    double longest_mean; /* of the longest from each source */
    uint32_t longest;    /* of these the greatest */
};

/** Shortest paths from so many sources, drawn without repetition; 0, or more
 *  than there are nodes: from all. */
void graph_paths(const struct graph *g, struct prng *prng, uint32_t sources,
                 struct graph_paths *out);

/** Mean over the nodes with two neighbors or more of the share of pairs of
 *  neighbors that are neighbors of each other. */
double graph_clustering(const struct graph *g);

/** Connected components. @param island  NULL, or for each node the least
 *  number of a node that it is connected with; room for all. */
uint32_t graph_islands(const struct graph *g, uint32_t *island,
                       uint32_t *largest);

#endif
