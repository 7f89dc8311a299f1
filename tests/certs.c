#include "certs.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static char dir[300];
static EVP_PKEY *ca_key;
static X509 *ca;
static long last_serial;

static void must(int ok)
{
    if (!ok)
        abort();
}

static FILE *create(const char *name, const char *ending)
{
    char path[600];

    (void)snprintf(path, sizeof path, "%s/%s%s", dir, name, ending);
    FILE *file = fopen(path, "w");
    must(file != NULL);
    return file;
}

static void add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, ca, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(e != NULL && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static X509 *new_certificate(EVP_PKEY *key, const char *name, long seconds)
{
    X509 *x = X509_new();

    must(x != NULL && X509_set_version(x, X509_VERSION_3) == 1);
    must(ASN1_INTEGER_set(X509_get_serialNumber(x), ++last_serial) == 1);
    must(X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL);
    must(X509_gmtime_adj(X509_getm_notAfter(x), seconds) != NULL);
    must(X509_set_pubkey(x, key) == 1);
    X509_NAME *subject = X509_get_subject_name(x);
    must(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                    (const unsigned char *)name, -1, -1,
                                    0) == 1);
    must(X509_set_issuer_name(x, ca != NULL ? X509_get_subject_name(ca)
                                            : subject) == 1);
    return x;
}

void certs_open(const char *folder)
{
    (void)snprintf(dir, sizeof dir, "%s", folder);
    ca_key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    must(ca_key != NULL);
    X509 *x = new_certificate(ca_key, "Test authority", 86400);
    add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
    must(X509_sign(x, ca_key, EVP_sha256()) > 0);
    ca = x;
    FILE *file = create("ca", ".crt");
    must(PEM_write_X509(file, ca) == 1);
    must(fclose(file) == 0);
}

void certs_close(void)
{
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    ca = NULL;
    ca_key = NULL;
}

long certs_make(const char *name, const char *dns, long seconds)
{
    char alternative[300];
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

    must(key != NULL);
    X509 *x = new_certificate(key, "argus node", seconds);
    (void)snprintf(alternative, sizeof alternative, "DNS:%s", dns);
    add_extension(x, NID_subject_alt_name, alternative);
    must(X509_sign(x, ca_key, EVP_sha256()) > 0);
    FILE *file = create(name, ".crt");
    must(PEM_write_X509(file, x) == 1);
    must(fclose(file) == 0);
    file = create(name, ".pem");
    must(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    must(fclose(file) == 0);
    X509_free(x);
    EVP_PKEY_free(key);
    return last_serial;
}

void certs_revoke(long serial, long seconds)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *when = X509_gmtime_adj(NULL, -7200);
    ASN1_TIME *next = X509_gmtime_adj(NULL, seconds);

    must(crl != NULL && when != NULL && next != NULL);
    must(X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1);
    must(X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)) == 1);
    must(X509_CRL_set1_lastUpdate(crl, when) == 1);
    must(X509_CRL_set1_nextUpdate(crl, next) == 1);
    if (serial != 0) {
        X509_REVOKED *revoked = X509_REVOKED_new();
        ASN1_INTEGER *number = ASN1_INTEGER_new();
        must(revoked != NULL && number != NULL);
        must(ASN1_INTEGER_set(number, serial) == 1);
        must(X509_REVOKED_set_serialNumber(revoked, number) == 1);
        must(X509_REVOKED_set_revocationDate(revoked, when) == 1);
        must(X509_CRL_add0_revoked(crl, revoked) == 1);
        ASN1_INTEGER_free(number);
    }
    must(X509_CRL_sort(crl) == 1);
    must(X509_CRL_sign(crl, ca_key, EVP_sha256()) > 0);
    FILE *file = create("list", ".crl");
    must(PEM_write_X509_CRL(file, crl) == 1);
    must(fclose(file) == 0);
    X509_CRL_free(crl);
    ASN1_TIME_free(when);
    ASN1_TIME_free(next);
}
