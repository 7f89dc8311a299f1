/* `argusctl config` and `keygen` as scripts use them; see cli_bed.h. The daemon
 * is a table of versions and chunks, the mesh a script of node states. */
#include "test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "cli_bed.h"
#include "core/content.h"
#include "core/manifest.h"
#include "folder.h"
#include "runtime/keyring.h"
#include "runtime/operator_key.h"

#define VERSIONS_MAX 16
#define CHUNKS_MAX 256
#define NODES_MAX 4

struct chunk {
    uint8_t hash[CONTENT_HASH_SIZE];
    uint8_t data[CONTENT_CHUNK_SIZE];
    size_t size;
};

/* What a node says at the n-th time it is asked, the last one from then on. */
struct script {
    argus_BundlePhase phases[4];
    uint32_t phases_count;
    argus_MemberState member;
    bool unheard;
    uint32_t lag; /* asks until its record speaks of the head */
    const char *error;
};

static struct {
    argus_SignedBundle versions[VERSIONS_MAX];
    uint32_t count; /* of one name: "base" or whatever came */
    struct chunk chunks[CHUNKS_MAX];
    uint32_t chunks_count;
    bool is_incomplete;
    int push_result;   /* not OK: what the next push gets */
    uint32_t overtake; /* versions to add once the status was asked twice */
    struct script nodes[NODES_MAX];
    uint32_t nodes_count;
    uint32_t asked; /* for the status */
} mesh;

static void digest(const void *data, size_t size, uint8_t *out)
{
    CU_ASSERT_EQUAL_FATAL(EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL),
                          1);
}

/* --------------------------------------------------------- the fake daemon */

static const struct chunk *find_chunk(const uint8_t *hash)
{
    for (uint32_t i = 0; i < mesh.chunks_count; i++)
        if (memcmp(mesh.chunks[i].hash, hash, CONTENT_HASH_SIZE) == 0)
            return &mesh.chunks[i];
    return NULL;
}

static bool chunk_has(void *context, const uint8_t hash[CONTENT_HASH_SIZE])
{
    (void)context;
    return find_chunk(hash) != NULL;
}

static size_t chunk_get(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                        uint8_t out[CONTENT_CHUNK_SIZE])
{
    const struct chunk *c = find_chunk(hash);

    (void)context;
    if (c == NULL)
        return 0;
    memcpy(out, c->data, c->size);
    return c->size;
}

static const struct chunk_store store = {.has = chunk_has, .get = chunk_get};

static void manifest_of(uint32_t version, argus_Manifest *out)
{
    struct argus_error err;
    CU_ASSERT_EQUAL_FATAL(manifest_open(&mesh.versions[version - 1], out, &err),
                          ARGUS_OK);
}

static void hash_of(uint32_t version, uint8_t *out)
{
    const argus_SignedBundle *b = &mesh.versions[version - 1];
    digest(b->manifest.bytes, b->manifest.size, out);
}

static bool fake_version(void *context, const char *name, uint32_t version,
                         argus_BundleReply *out)
{
    argus_Manifest m;

    (void)context;
    version = version == 0 ? mesh.count : version;
    if (version == 0 || version > mesh.count)
        return false;
    manifest_of(version, &m);
    if (strcmp(m.name, name) != 0)
        return false;
    out->has_bundle = true;
    out->bundle = mesh.versions[version - 1];
    hash_of(version, out->hash);
    out->head = version == mesh.count;
    out->trusted = true;
    out->complete = !mesh.is_incomplete;
    (void)strcpy(out->state, m.removed ? "removed" : "applied");
    return true;
}

static bool fake_bundle(void *context, uint32_t index, argus_BundleReply *out)
{
    argus_Manifest m;

    if (index > 0 || mesh.count == 0)
        return false;
    manifest_of(mesh.count, &m);
    return fake_version(context, m.name, 0, out);
}

static size_t fake_content(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                           uint64_t offset, uint8_t *out, size_t size,
                           uint64_t *total)
{
    argus_Manifest m;
    uint8_t own[CONTENT_HASH_SIZE];

    (void)context;
    *total = UINT64_MAX;
    for (uint32_t v = 1; v <= mesh.count; v++) {
        hash_of(v, own);
        if (memcmp(own, hash, sizeof own) != 0)
            continue;
        manifest_of(v, &m);
        *total = content_size(&m);
        return content_read(&store, &m, offset, out, size);
    }
    return 0;
}

static int fake_chunk(void *context, uint64_t staged, const uint8_t *data,
                      size_t size, struct argus_error *err)
{
    struct chunk *c = &mesh.chunks[mesh.chunks_count];

    (void)context;
    if (staged + size > 4u << 20)
        return argus_fail(err, ARGUS_ETOOLARGE,
                          "this node takes at most 4 MiB");
    CU_ASSERT_TRUE_FATAL(mesh.chunks_count < CHUNKS_MAX);
    digest(data, size, c->hash);
    memcpy(c->data, data, size);
    c->size = size;
    mesh.chunks_count++;
    return ARGUS_OK;
}

/* As the core does it: the next version, all content here, a good signature. */
static int fake_push(void *context, const argus_SignedBundle *bundle,
                     struct argus_error *err)
{
    argus_Manifest m;
    uint8_t head[CONTENT_HASH_SIZE];

    (void)context;
    if (mesh.push_result != ARGUS_OK)
        return argus_fail(err, mesh.push_result, "another was faster");
    int rc = manifest_open(bundle, &m, err);
    if (rc != ARGUS_OK)
        return rc;
    if (!operator_key_vouches(bundle, "default"))
        return argus_fail(err, ARGUS_EDENIED, "the signature is wrong");
    if (mesh.count > 0)
        hash_of(mesh.count, head);
    if (m.version != mesh.count + 1 ||
        (mesh.count > 0 && memcmp(m.before.bytes, head, sizeof head) != 0))
        return argus_fail(err, ARGUS_EBUSY, "not the next version");
    if (!content_is_complete(&store, &m, NULL))
        return argus_fail(err, ARGUS_ENOENT, "a chunk is missing");
    mesh.versions[mesh.count++] = *bundle;
    return ARGUS_OK;
}

static bool fake_bundle_status(void *context, const char *name,
                               argus_BundleStatusReply *out)
{
    argus_Manifest m;

    (void)context;
    if (++mesh.asked > 2 && mesh.overtake > 0) {
        mesh.versions[mesh.count] = mesh.versions[mesh.count - 1];
        mesh.count += mesh.overtake;
        mesh.overtake = 0;
    }
    if (mesh.count == 0)
        return false;
    manifest_of(mesh.count, &m);
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    out->version = mesh.count;
    hash_of(mesh.count, out->hash);
    (void)strcpy(out->state, m.removed ? "removed" : "rolling");
    return strcmp(m.name, name) == 0;
}

static bool fake_bundle_node(void *context, const char *name, uint32_t index,
                             argus_BundleNodeReply *out)
{
    uint8_t hash[CONTENT_HASH_SIZE];

    (void)context;
    (void)name;
    if (index >= mesh.nodes_count)
        return false;
    const struct script *s = &mesh.nodes[index];
    (void)snprintf(out->node, sizeof out->node, "web-%u", index + 1);
    out->id[0] = (uint8_t)(index + 1);
    out->member = s->member != 0 ? s->member : argus_MemberState_MEMBER_ONLINE;
    out->unheard = s->unheard;
    out->has_bundle = !s->unheard;
    argus_BundleState *b = &out->bundle;
    bool lags = mesh.asked <= s->lag;
    uint32_t at = mesh.asked - s->lag - 1;
    b->desired = mesh.count - lags;
    b->desired_hash.size = 16;
    hash_of(b->desired == 0 ? 1 : b->desired, hash);
    memcpy(b->desired_hash.bytes, hash, 16);
    b->phase = lags
                   ? argus_BundlePhase_BUNDLE_APPLIED
                   : s->phases[at < s->phases_count ? at : s->phases_count - 1];
    b->running = b->phase == argus_BundlePhase_BUNDLE_APPLIED ? b->desired : 0;
    if (s->error != NULL)
        (void)snprintf(b->error, sizeof b->error, "%s", s->error);
    if (b->phase == argus_BundlePhase_BUNDLE_APPLIED && s->error != NULL) {
        b->warnings_count = 1;
        (void)strcpy(b->warnings[0], "an option is unknown");
    }
    return true;
}

static void fake_status(void *context, argus_StatusReply *out)
{
    (void)context;
    (void)strcpy(out->cluster, "default");
    out->workers_count = 1;
    (void)strcpy(out->workers[0].bundle, "base");
    (void)strcpy(out->workers[0].state, "active");
    out->workers[0].version = 3;
    out->workers[0].pid = 4711;
}

static bool fake_member(void *context, uint32_t index, argus_MemberReply *out)
{
    (void)context;
    out->has_record = true;
    out->record.bundles_count = 2;
    (void)strcpy(out->record.bundles[0].name, "base");
    out->record.bundles[0].running = 3;
    (void)strcpy(out->record.bundles[1].name, "edge"); /* does not run */
    return index == 0;
}

static void fake_coverage(void *context, argus_Coverage *out)
{
    (void)context;
    out->known = out->contributed = 3;
}

static const struct control_hooks hooks = {
    .status = fake_status,
    .member = fake_member,
    .coverage = fake_coverage,
    .bundle = fake_bundle,
    .bundle_version = fake_version,
    .bundle_content = fake_content,
    .bundle_chunk = fake_chunk,
    .bundle_push = fake_push,
    .bundle_status = fake_bundle_status,
    .bundle_node = fake_bundle_node,
};

/* ------------------------------------------------------------------ fixture */

static void write_text(const char *name, const char *text)
{
    CU_ASSERT_TRUE_FATAL(file_write(bed.dir, name, text, strlen(text)));
}

static void begin(void)
{
    memset(&mesh, 0, sizeof mesh);
    bed_begin(&hooks);
    write_text("one.conf", "LoadPlugin df\n");
    write_text("two.conf", "LoadPlugin df\nLoadPlugin load\n");
    CU_ASSERT_EQUAL_FATAL(run("keygen operator DIR/key"), 0);
}

static void script(uint32_t node, uint32_t count, const argus_BundlePhase *list)
{
    memcpy(mesh.nodes[node].phases, list, count * sizeof *list);
    mesh.nodes[node].phases_count = count;
    mesh.nodes_count = node >= mesh.nodes_count ? node + 1 : mesh.nodes_count;
}

#define SCRIPT(node, ...)                                                      \
    script(node,                                                               \
           sizeof((argus_BundlePhase[]){__VA_ARGS__}) /                        \
               sizeof(argus_BundlePhase),                                      \
           (const argus_BundlePhase[]){__VA_ARGS__})
#define PENDING argus_BundlePhase_BUNDLE_PENDING
#define APPLYING argus_BundlePhase_BUNDLE_APPLYING
#define APPLIED argus_BundlePhase_BUNDLE_APPLIED
#define FAILED argus_BundlePhase_BUNDLE_FAILED
#define ROLLED_BACK argus_BundlePhase_BUNDLE_ROLLED_BACK
#define REFUSED argus_BundlePhase_BUNDLE_REFUSED

static int64_t number_at(json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *error_code(void)
{
    return text_at(json_object_get(bed.json, "error"), "code");
}

/* --------------------------------------------------------------------- keys */

/* Goal: a pair that argus reads, the private half for its owner alone; nothing
 * is ever overwritten, and what fails leaves nothing behind. */
static void test_keygen_makes_a_pair_once(void)
{
    char path[300], pem[512], again[512];
    struct argus_error err;
    struct stat st;
    uint8_t key[32], hash[32];

    begin();
    CU_ASSERT_EQUAL(run("--json keygen operator DIR/op"), 0);
    (void)snprintf(path, sizeof path, "%s/op", bed.dir);
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(operator_key_read(path, key, &err), ARGUS_ECORRUPT);
    (void)strcat(path, ".pub");
    CU_ASSERT_EQUAL(operator_key_read(path, key, &err), ARGUS_OK);
    digest(key, sizeof key, hash);
    char fingerprint[17];
    for (int i = 0; i < 8; i++)
        (void)snprintf(fingerprint + 2 * i, 3, "%02x", hash[i]);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "fingerprint"), fingerprint);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "public"), path);

    long size = file_read(bed.dir, "op", pem, sizeof pem);
    CU_ASSERT_TRUE_FATAL(size > 0);
    CU_ASSERT_EQUAL(run("--json keygen operator DIR/op"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "exists");
    CU_ASSERT_EQUAL(file_read(bed.dir, "op", again, sizeof again), size);
    CU_ASSERT_EQUAL(memcmp(pem, again, (size_t)size), 0);
    write_text("half.pub", "mine");
    CU_ASSERT_EQUAL(run("keygen operator DIR/half"), 1);
    CU_ASSERT_FALSE(file_exists(bed.dir, "half"));
    CU_ASSERT_EQUAL(file_read(bed.dir, "half.pub", again, sizeof again), 4);
    CU_ASSERT_EQUAL(run("keygen operator /nowhere/at/all"), 1);
    CU_ASSERT_TRUE(complains("/nowhere/at/all"));
    CU_ASSERT_EQUAL(run("keygen operator"), 2);
    bed_finish();
}

/* Goal: what keygen makes is a keyring, under the id that it prints; it is not
 * overwritten either. */
static void test_keygen_makes_a_keyring(void)
{
    char path[400], id[MESH_KEY_ID_TEXT_SIZE];
    struct argus_error err = {{0}};
    struct keyring ring, again;
    struct stat st;

    begin();
    (void)snprintf(path, sizeof path, "%s/mesh", bed.dir);
    CU_ASSERT_EQUAL(run("--json keygen mesh DIR/mesh"), 0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "file"), path);
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL_FATAL(keyring_read(path, &ring, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(ring.count, 1);
    mesh_key_id_format(ring.keys[0].id, id);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "id"), id);

    CU_ASSERT_EQUAL(run("--json keygen mesh DIR/mesh"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "exists");
    CU_ASSERT_EQUAL(run("keygen mesh DIR/other"), 0);
    (void)snprintf(path, sizeof path, "%s/other", bed.dir);
    CU_ASSERT_EQUAL_FATAL(keyring_read(path, &again, &err), ARGUS_OK);
    CU_ASSERT_NOT_EQUAL(
        memcmp(again.keys[0].secret, ring.keys[0].secret, MESH_KEY_SIZE), 0);
    bed_finish();
}

/* ------------------------------------------------------------------ pushing */

/* Goal: what is pushed is signed for this cluster, follows the head, and its
 * content arrives byte for byte, files, names and modes too. */
static void test_push_is_signed_and_whole(void)
{
    static uint8_t big[100000], back[100100];
    char path[300];
    argus_Manifest m;
    uint8_t first[CONTENT_HASH_SIZE];

    begin();
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * i >> 3);
    CU_ASSERT_TRUE(file_write(bed.dir, "big.bin", big, sizeof big));
    write_text("run.sh", "#!/bin/sh\n");
    (void)snprintf(path, sizeof path, "%s/run.sh", bed.dir);
    CU_ASSERT_EQUAL(chmod(path, 0755), 0);

    CU_ASSERT_EQUAL(run("--json config push DIR/one.conf --name base"
                        " --key DIR/key"),
                    0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "name"), "base");
    CU_ASSERT_EQUAL(number_at(bed.json, "version"), 1);
    CU_ASSERT_EQUAL_FATAL(mesh.count, 1);
    manifest_of(1, &m);
    CU_ASSERT_EQUAL(m.before.size, 0);
    CU_ASSERT_STRING_EQUAL(m.target, "*");
    CU_ASSERT_EQUAL(m.expires_ms, 0);
    CU_ASSERT_TRUE(m.created_ms > 1500000000000u);

    CU_ASSERT_EQUAL(run("config push --name base --key DIR/key DIR/two.conf"
                        " --target role=agent,tag:a=b;name=web-*"
                        " --expires +30d --file DIR/big.bin"
                        " --file DIR/run.sh=check"),
                    0);
    CU_ASSERT_TRUE(prints("Version 2 of base"));
    CU_ASSERT_EQUAL_FATAL(mesh.count, 2);
    CU_ASSERT_TRUE(operator_key_vouches(&mesh.versions[1], "default"));
    CU_ASSERT_FALSE(operator_key_vouches(&mesh.versions[1], "other"));
    manifest_of(2, &m);
    hash_of(1, first);
    CU_ASSERT_EQUAL(memcmp(m.before.bytes, first, sizeof first), 0);
    CU_ASSERT_STRING_EQUAL(m.target, "role=agent,tag:a=b;name=web-*");
    CU_ASSERT_TRUE(m.expires_ms > m.created_ms + 29ull * 86400000);
    CU_ASSERT_EQUAL_FATAL(m.files_count, 3);
    CU_ASSERT_STRING_EQUAL(m.files[1].name, "big.bin");
    CU_ASSERT_FALSE(m.files[1].executable);
    CU_ASSERT_STRING_EQUAL(m.files[2].name, "check");
    CU_ASSERT_TRUE(m.files[2].executable);
    CU_ASSERT_TRUE(content_is_complete(&store, &m, NULL));
    CU_ASSERT_EQUAL(
        content_read(&store, &m, m.files[0].size, back, sizeof back),
        sizeof big + 10);
    CU_ASSERT_EQUAL(memcmp(back, big, sizeof big), 0);
    bed_finish();
}

/* Goal: signed elsewhere, without a daemon, then pushed without the key; what
 * was signed cannot be changed on the way. */
static void test_sign_then_push(void)
{
    char bytes[4096], words[512];
    argus_Manifest m;

    begin();
    CU_ASSERT_EQUAL(run("-s /nowhere --json config sign DIR/one.conf"
                        " --name base --key DIR/key --version 1 -o DIR/s1"),
                    0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "cluster"), "default");
    (void)snprintf(words, sizeof words,
                   "-s /nowhere config sign DIR/two.conf --name base"
                   " --key DIR/key --version 2 --after %s -o DIR/s2",
                   text_at(bed.json, "hash"));
    CU_ASSERT_EQUAL(run(words), 0);
    CU_ASSERT_EQUAL(run("config push DIR/s1"), 0);
    CU_ASSERT_EQUAL(run("config push DIR/s2 --name base"), 0);
    CU_ASSERT_EQUAL_FATAL(mesh.count, 2);
    CU_ASSERT_EQUAL(run("--json config push DIR/s1"), 1); /* replayed */
    CU_ASSERT_STRING_EQUAL(error_code(), "superseded");

    /* With a daemon at hand: it knows number, predecessor and cluster. */
    CU_ASSERT_EQUAL(run("config sign DIR/one.conf --name base --key DIR/key"
                        " -o DIR/s3"),
                    0);
    CU_ASSERT_EQUAL(run("config push DIR/s3"), 0);
    CU_ASSERT_EQUAL_FATAL(mesh.count, 3);
    manifest_of(3, &m);
    CU_ASSERT_EQUAL(m.version, 3);

    CU_ASSERT_EQUAL(run("--json config push DIR/s3 --name other"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "invalid");
    CU_ASSERT_EQUAL(run("config push DIR/s3 --target role=agent"), 2);
    CU_ASSERT_TRUE(complains("signed already"));
    CU_ASSERT_EQUAL(run("config sign DIR/s3 --name base --key DIR/key"
                        " --version 1 -o DIR/s4"),
                    1);
    CU_ASSERT_FALSE(file_exists(bed.dir, "s4"));

    /* Of another cluster: the daemon finds the signature wrong. */
    CU_ASSERT_EQUAL(run("config sign DIR/one.conf --name base --key DIR/key"
                        " --version 1 --cluster prod -o DIR/s4"),
                    0);
    CU_ASSERT_EQUAL(run("--json config push DIR/s4"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "refused");

    /* Damaged at any place: found before anything is sent. */
    long size = file_read(bed.dir, "s1", bytes, sizeof bytes);
    CU_ASSERT_TRUE_FATAL(size > 100);
    uint32_t chunks = mesh.chunks_count;
    bytes[size - 3] ^= 1;
    CU_ASSERT_TRUE(file_write(bed.dir, "s1", bytes, (size_t)size));
    CU_ASSERT_EQUAL(run("--json config push DIR/s1"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "invalid");
    for (long cut = 22; cut < size; cut += 37) {
        CU_ASSERT_TRUE(file_write(bed.dir, "s1", bytes, (size_t)cut));
        CU_ASSERT_EQUAL(run("config push DIR/s1"), 1);
        CU_ASSERT_TRUE(complains("damaged"));
    }
    CU_ASSERT_EQUAL(mesh.chunks_count, chunks);
    bed_finish();
}

/* Goal: what is wrong is found here, named, and nothing is sent. */
static void test_refused_before_anything_is_sent(void)
{
    static const struct {
        int code;
        const char *words, *text;
    } cases[] = {
        {1, "DIR/none --name b --key DIR/key", "DIR/none: No such file"},
        {1, "DIR/empty --name b --key DIR/key", "no statement"},
        {1, "DIR/notes --name b --key DIR/key", "no statement"},
        {1, "DIR/nul --name b --key DIR/key", "line 2 holds the byte 0x00"},
        {1, "DIR/huge --name b --key DIR/key", "larger than 32 MiB"},
        {1, "/ --name b --key DIR/key", "directory"},
        {1, "DIR/one.conf --name b --key DIR/key --file DIR/huge",
         "larger than 32 MiB"},
        {1, "DIR/one.conf --name b --key DIR/key --file DIR/none", "DIR/none"},
        {1, "DIR/one.conf --name b --key DIR/key --file DIR/one.conf=.x",
         "\".x\" is no name"},
        {1, "DIR/one.conf --name b --key DIR/key --file DIR/nul --file DIR/nul",
         "two files are named \"nul\""},
        {1, "DIR/one.conf --name b --key DIR/none", "DIR/none"},
        {1, "DIR/one.conf --name b --key DIR/key.pub", "a public key"},
        {1, "DIR/one.conf --name b --key DIR/one.conf", "no private key"},
        {2, "DIR/one.conf --name b", "--key K is missing"},
        {2, "DIR/one.conf --key DIR/key", "--name NAME is missing"},
        {2, "DIR/one.conf --name -b --key DIR/key", "no name of a bundle"},
        {2, "DIR/one.conf --name b/c --key DIR/key", "no name of a bundle"},
        {2, "DIR/one.conf --name b --key DIR/key --target nome=x", "nome=x"},
        {2, "DIR/one.conf --name b --key DIR/key --target role=king", "king"},
        {2,
         "DIR/one.conf --name b --key DIR/key --expires 2020-01-01T00:00:00Z",
         "that is past"},
        {2, "DIR/one.conf --name b --key DIR/key --expires tomorrow",
         "--expires tomorrow"},
        {2, "DIR/one.conf --name b --key DIR/key --wait=-1", "--wait=-1"},
        {2, "DIR/one.conf --name b --key DIR/key --canary 2", "not built"},
        {2, "DIR/one.conf --name b --key DIR/key --waves 5%", "not built"},
        {2, "DIR/one.conf --name b --key DIR/key --soak 5", "not built"},
        {2, "DIR/one.conf --name b --key DIR/key --max-failures 1",
         "not built"},
        {2, "DIR/one.conf --name b --key DIR/key extra", "one FILE"},
        {2, "DIR/one.conf --name b --key DIR/key --watch", "watched"},
    };
    char path[300], words[512];

    begin();
    write_text("empty", "");
    write_text("notes", "# nothing\n\n \t# at all\n");
    CU_ASSERT_TRUE(file_write(bed.dir, "nul", "a\nb\0c", 5));
    write_text("huge", "x");
    (void)snprintf(path, sizeof path, "%s/huge", bed.dir);
    CU_ASSERT_EQUAL(truncate(path, 64 << 20), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        (void)snprintf(words, sizeof words, "config push %s", cases[i].words);
        CU_ASSERT_EQUAL(run(words), cases[i].code);
        const char *text = cases[i].text;
        CU_ASSERT_TRUE(
            complains(strncmp(text, "DIR/", 4) == 0 ? text + 4 : text));
        if (!complains(strncmp(text, "DIR/", 4) == 0 ? text + 4 : text))
            printf("  %s: %s\n", words, bed.err);
    }
    CU_ASSERT_EQUAL(mesh.chunks_count, 0);
    CU_ASSERT_EQUAL(mesh.count, 0);

    /* A key that all may read is used, with a warning. */
    (void)snprintf(path, sizeof path, "%s/key", bed.dir);
    CU_ASSERT_EQUAL(chmod(path, 0644), 0);
    CU_ASSERT_EQUAL(run("config push DIR/one.conf --name b --key DIR/key"), 0);
    CU_ASSERT_TRUE(complains("warning: others may read the key"));
    CU_ASSERT_EQUAL(mesh.count, 1);
    bed_finish();
}

/* Goal: what the daemon refuses comes out with its code and text. */
static void test_daemon_refuses(void)
{
    static char text[5 << 20];
    static const struct {
        int result;
        const char *code;
    } cases[] = {
        {ARGUS_EBUSY, "superseded"},
        {ARGUS_EDENIED, "refused"},
        {ARGUS_EFULL, "no-room"},
        {ARGUS_EINVAL, "invalid"},
    };

    begin();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mesh.push_result = cases[i].result;
        CU_ASSERT_EQUAL(run("--json config push DIR/one.conf --name base"
                            " --key DIR/key"),
                        1);
        CU_ASSERT_STRING_EQUAL(error_code(), cases[i].code);
        CU_ASSERT_TRUE(complains("another was faster"));
    }
    mesh.push_result = ARGUS_OK;
    memset(text, 'x', sizeof text);
    CU_ASSERT_TRUE(file_write(bed.dir, "long", text, sizeof text));
    CU_ASSERT_EQUAL(
        run("--json config push DIR/long --name base --key DIR/key"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "too-large");
    CU_ASSERT_TRUE(complains("4 MiB"));
    CU_ASSERT_EQUAL(mesh.count, 0);
    CU_ASSERT_EQUAL(run("-s /nowhere --json config push DIR/one.conf"
                        " --name base --key DIR/key"),
                    4);
    bed_finish();
}

/* ------------------------------------------------------------------ waiting */

#define PUSH_WAITING "config push DIR/one.conf --name base --key DIR/key --wait"

/* Goal: --wait follows until all are through, tells each change once, and does
 * not wait for a node that is offline. */
static void test_wait_follows_to_the_end(void)
{
    begin();
    SCRIPT(0, PENDING, APPLYING, APPLIED);
    SCRIPT(1, APPLIED);
    SCRIPT(2, PENDING);
    mesh.nodes[2].member = argus_MemberState_MEMBER_OFFLINE;
    CU_ASSERT_EQUAL(run(PUSH_WAITING), 0);
    CU_ASSERT_TRUE(prints("Version 1 of base"));
    CU_ASSERT_TRUE(prints("base 1, complete: 1 pending, 2 applied"));
    CU_ASSERT_TRUE(complains("web-1: pending\n"));
    CU_ASSERT_TRUE(complains("web-1: applying\nweb-1: applied\n"));
    CU_ASSERT_TRUE(complains("web-2: applied\n"));

    mesh.asked = 0;
    CU_ASSERT_EQUAL(run("--json " PUSH_WAITING), 0);
    CU_ASSERT_EQUAL(number_at(bed.json, "version"), 2);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "state"), "complete");
    json_t *totals = json_object_get(bed.json, "totals");
    CU_ASSERT_EQUAL(number_at(totals, "applied"), 2);
    CU_ASSERT_EQUAL(number_at(totals, "failed"), 0);

    /* A node that still speaks of the version before is not through. */
    mesh.asked = 0;
    mesh.nodes_count = 0;
    SCRIPT(0, APPLIED);
    mesh.nodes[0].lag = 2;
    CU_ASSERT_EQUAL(run(PUSH_WAITING), 0);
    CU_ASSERT_EQUAL(mesh.asked, 3);
    CU_ASSERT_TRUE(complains("web-1: pending\nweb-1: applied\n"));
    bed_finish();
}

/* Goal: exit 1 with the reason when a node failed, when another push won, and
 * when the time is up. */
static void test_wait_tells_bad_news(void)
{
    static const argus_BundlePhase bad[] = {FAILED, ROLLED_BACK, REFUSED};

    begin();
    SCRIPT(0, APPLIED);
    for (size_t i = 0; i < 3; i++) {
        mesh.asked = 0;
        SCRIPT(1, APPLYING, bad[i]);
        mesh.nodes[1].error = "df: no such option";
        CU_ASSERT_EQUAL(run(PUSH_WAITING), 1);
        CU_ASSERT_TRUE(complains("1 of 2 nodes did not apply it"));
        CU_ASSERT_TRUE(prints("web-2:\n    df: no such option\n"));
    }
    mesh.asked = 0;
    CU_ASSERT_EQUAL(run("--json " PUSH_WAITING), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "failed");
    CU_ASSERT_EQUAL(number_at(json_object_get(bed.json, "totals"), "refused"),
                    1);

    mesh.asked = 0;
    SCRIPT(1, APPLYING);
    mesh.overtake = 1;
    CU_ASSERT_EQUAL(run("--json " PUSH_WAITING), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "superseded");

    memset(&mesh, 0, sizeof mesh);
    SCRIPT(0, APPLYING);
    CU_ASSERT_EQUAL(run("--json " PUSH_WAITING "=0.3"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "timeout");
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "state"), "rolling");
    bed_finish();
}

/* ------------------------------------------------------------------- status */

/* Goal: the JSON of the contract, and the exit code says how it is; texts are
 * printed whole. */
static void test_status_of_nodes(void)
{
    static const char *const names[] = {"name",  "version",  "state",
                                        "wave",  "reason",   "totals",
                                        "nodes", "coverage", NULL};
    static const char *const node_names[] = {
        "node", "desired", "running", "state", "error", "warnings", NULL};
    static const char text[] =
        "Initialization of plugin `network' failed with status -1. Plugin "
        "will be unloaded. The socket is in use by another process, number 4";

    begin();
    CU_ASSERT_EQUAL(run("--json config status base"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "not-found");
    CU_ASSERT_EQUAL(run("config push DIR/one.conf --name base --key DIR/key"),
                    0);
    SCRIPT(0, APPLIED);
    CU_ASSERT_EQUAL(run("--json config status base"), 0);
    CU_ASSERT_TRUE(has_keys(bed.json, names));
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "state"), "complete");
    json_t *nodes = json_object_get(bed.json, "nodes");
    CU_ASSERT_EQUAL_FATAL(json_array_size(nodes), 1);
    CU_ASSERT_TRUE(has_keys(json_array_get(nodes, 0), node_names));

    SCRIPT(1, FAILED);
    mesh.nodes[1].error = text;
    CU_ASSERT_EQUAL(run("--json config status base"), 1);
    json_t *row = json_array_get(json_object_get(bed.json, "nodes"), 1);
    CU_ASSERT_STRING_EQUAL(text_at(row, "error"), text);
    CU_ASSERT_STRING_EQUAL(text_at(row, "state"), "failed");
    CU_ASSERT_EQUAL(number_at(row, "running"), 0);
    CU_ASSERT_EQUAL(run("config status base"), 1);
    CU_ASSERT_TRUE(prints("base 1, complete: 1 applied, 1 failed"));
    CU_ASSERT_TRUE(prints("web-2:\n    Initialization of plugin"));
    CU_ASSERT_TRUE(prints("process, number 4"));

    mesh.nodes[0].error = "x"; /* and a warning */
    CU_ASSERT_EQUAL(run("config status base"), 1);
    CU_ASSERT_TRUE(prints("web-1, warning:\n    an option is unknown"));

    mesh.nodes_count = 1;
    mesh.nodes[0].unheard = true;
    CU_ASSERT_EQUAL(run("--json config status base"), 3);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "state"), "rolling");
    CU_ASSERT_EQUAL(
        number_at(json_object_get(bed.json, "coverage"), "contributed"), 2);
    CU_ASSERT_EQUAL(run("config status base"), 3);
    CU_ASSERT_TRUE(prints("unheard"));
    CU_ASSERT_TRUE(prints("Only 2 of 3 nodes"));
    mesh.nodes_count = 0;
    CU_ASSERT_EQUAL(run("config status base"), 0);
    CU_ASSERT_TRUE(prints("no node known"));
    CU_ASSERT_EQUAL(run("config status"), 2);
    CU_ASSERT_EQUAL(run("config status a/b"), 2);
    bed_finish();
}

/* ------------------------------------------------------- what is known */

static void push_two(void)
{
    write_text("extra", "v1");
    CU_ASSERT_EQUAL(run("config push DIR/one.conf --name base --key DIR/key"
                        " --file DIR/extra --file DIR/two.conf=gone"),
                    0);
    write_text("extra", "v2");
    CU_ASSERT_EQUAL(run("config push DIR/two.conf --name base --key DIR/key"
                        " --file DIR/extra --file DIR/one.conf=new"
                        " --target role=agent"),
                    0);
}

static void test_list_show_diff(void)
{
    static const char *const names[] = {"name",   "version", "target", "state",
                                        "signer", "expires", NULL};

    begin();
    CU_ASSERT_EQUAL(run("config list"), 0);
    CU_ASSERT_TRUE(prints("No configuration"));
    push_two();
    CU_ASSERT_EQUAL(run("--json config list"), 0);
    json_t *row = json_array_get(json_object_get(bed.json, "bundles"), 0);
    CU_ASSERT_TRUE(has_keys(row, names));
    CU_ASSERT_EQUAL(number_at(row, "version"), 2);
    CU_ASSERT_STRING_EQUAL(text_at(row, "state"), "applied");
    CU_ASSERT_EQUAL(run("config list"), 0);
    CU_ASSERT_TRUE(prints("role"));

    CU_ASSERT_EQUAL(run("config show base"), 0);
    CU_ASSERT_STRING_EQUAL(bed.out, "LoadPlugin df\nLoadPlugin load\n");
    CU_ASSERT_EQUAL(run("config show base@1"), 0);
    CU_ASSERT_STRING_EQUAL(bed.out, "LoadPlugin df\n");
    CU_ASSERT_EQUAL(run("config show base@1 --json"), 0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "text"), "LoadPlugin df\n");
    json_t *files = json_object_get(bed.json, "files");
    CU_ASSERT_EQUAL_FATAL(json_array_size(files), 2);
    CU_ASSERT_EQUAL(number_at(json_array_get(files, 0), "size"), 2);
    CU_ASSERT_EQUAL(strlen(text_at(json_array_get(files, 0), "sha256")), 64);
    CU_ASSERT_EQUAL(run("--json config show base@7"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "not-found");
    CU_ASSERT_EQUAL(run("config show base@0"), 2);
    CU_ASSERT_EQUAL(run("config show base@x"), 2);
    mesh.is_incomplete = true;
    CU_ASSERT_EQUAL(run("config show base"), 1);
    CU_ASSERT_TRUE(complains("arrived"));
    mesh.is_incomplete = false;

    CU_ASSERT_EQUAL(run("config diff base 1 2"), 0);
    CU_ASSERT_TRUE(prints("--- base@1\n+++ base@2\n"));
    CU_ASSERT_TRUE(prints("\n+LoadPlugin load\n"));
    CU_ASSERT_TRUE(prints("File extra: changed\nFile gone: removed\n"
                          "File new: added\n"));
    CU_ASSERT_TRUE(prints("Target: * -> role=agent\n"));
    CU_ASSERT_EQUAL(run("config diff base 1 2 --json"), 0);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(bed.json, "files")), 3);
    CU_ASSERT_PTR_NOT_NULL(strstr(text_at(bed.json, "diff"), "+LoadPlugin"));
    CU_ASSERT_EQUAL(run("config diff base 2 2"), 0);
    CU_ASSERT_STRING_EQUAL(bed.out, "");
    CU_ASSERT_EQUAL(run("config diff base 1"), 2);
    bed.path = "PATH=/nowhere";
    CU_ASSERT_EQUAL(run("--json config diff base 1 2"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "no-diff");
    CU_ASSERT_TRUE(complains("diffutils"));
    bed_finish();
}

/* Goal: a roll-back is the next version with an earlier content; a removal is
 * one too, and can be rolled back. */
static void test_rollback_and_remove(void)
{
    argus_Manifest m;

    begin();
    CU_ASSERT_EQUAL(run("--json config rollback base --key DIR/key"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "not-found");
    CU_ASSERT_EQUAL(run("--json config remove base --key DIR/key"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "not-found");
    push_two();
    CU_ASSERT_EQUAL(run("--json config rollback base --key DIR/key"), 0);
    CU_ASSERT_EQUAL(number_at(bed.json, "version"), 3);
    CU_ASSERT_EQUAL(run("config show base"), 0);
    CU_ASSERT_STRING_EQUAL(bed.out, "LoadPlugin df\n");
    manifest_of(3, &m);
    CU_ASSERT_EQUAL(m.files_count, 3);
    CU_ASSERT_STRING_EQUAL(m.target, "*");
    CU_ASSERT_EQUAL(run("config rollback base --key DIR/key --to 3"), 1);
    CU_ASSERT_TRUE(complains("the one in force"));

    CU_ASSERT_EQUAL(run("config remove base --key DIR/key"), 0);
    CU_ASSERT_TRUE(prints("Version 4 of base"));
    manifest_of(4, &m);
    CU_ASSERT_TRUE(m.removed);
    CU_ASSERT_EQUAL(run("--json config remove base --key DIR/key"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "removed");
    CU_ASSERT_EQUAL(run("config show base"), 1);
    CU_ASSERT_TRUE(complains("its removal"));
    CU_ASSERT_EQUAL(run("--json config status base"), 0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "state"), "removed");
    CU_ASSERT_EQUAL(run("config diff base 3 4"), 0);
    CU_ASSERT_TRUE(prints("\n-LoadPlugin df\n"));

    CU_ASSERT_EQUAL(run("config rollback base --to 2 --key DIR/key"), 0);
    CU_ASSERT_EQUAL(mesh.count, 5);
    CU_ASSERT_EQUAL(run("config rollback base --key DIR/key"), 1);
    CU_ASSERT_TRUE(complains("its removal"));
    CU_ASSERT_EQUAL(run("config remove base"), 2);
    CU_ASSERT_EQUAL(run("config remove base --key DIR/key --wait"), 0);
    CU_ASSERT_TRUE(prints("no node runs it any more"));
    bed_finish();
}

/* Goal: workers in status, running bundles in members. */
static void test_workers_and_bundles_are_shown(void)
{
    begin();
    CU_ASSERT_EQUAL(run("--json status"), 0);
    json_t *worker = json_array_get(json_object_get(bed.json, "workers"), 0);
    CU_ASSERT_STRING_EQUAL(text_at(worker, "bundle"), "base");
    CU_ASSERT_STRING_EQUAL(text_at(worker, "state"), "active");
    CU_ASSERT_EQUAL(number_at(worker, "version"), 3);
    CU_ASSERT_EQUAL(number_at(worker, "pid"), 4711);
    CU_ASSERT_EQUAL(run("status"), 0);
    CU_ASSERT_TRUE(prints("base 3: active, process 4711"));
    CU_ASSERT_EQUAL(run("--json members"), 0);
    json_t *member = json_array_get(json_object_get(bed.json, "members"), 0);
    json_t *bundles = json_object_get(member, "bundles");
    CU_ASSERT_EQUAL(json_object_size(bundles), 1);
    CU_ASSERT_EQUAL(number_at(bundles, "base"), 3);
    bed_finish();
}

CU_TestInfo suite_cli_config[] = {
    {"keygen_makes_a_pair_once", test_keygen_makes_a_pair_once},
    {"keygen_makes_a_keyring", test_keygen_makes_a_keyring},
    {"push_is_signed_and_whole", test_push_is_signed_and_whole},
    {"sign_then_push", test_sign_then_push},
    {"refused_before_anything_is_sent", test_refused_before_anything_is_sent},
    {"daemon_refuses", test_daemon_refuses},
    {"wait_follows_to_the_end", test_wait_follows_to_the_end},
    {"wait_tells_bad_news", test_wait_tells_bad_news},
    {"status_of_nodes", test_status_of_nodes},
    {"list_show_diff", test_list_show_diff},
    {"rollback_and_remove", test_rollback_and_remove},
    {"workers_and_bundles_are_shown", test_workers_and_bundles_are_shown},
    CU_TEST_INFO_NULL,
};
