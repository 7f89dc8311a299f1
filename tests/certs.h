/* certs.h - a certificate authority for tests: PEM files in a folder. */
#ifndef ARGUS_TESTS_CERTS_H
#define ARGUS_TESTS_CERTS_H

/** Make folder/ca.crt; the authority is kept until certs_close(). */
void certs_open(const char *folder);
void certs_close(void);

/** Make folder/NAME.crt and folder/NAME.pem for a DNS name that is valid from
 *  an hour ago for so many seconds from now (negative: it has run out).
 *  @return its serial number. */
long certs_make(const char *name, const char *dns, long seconds);

/** Write folder/list.crl, which revokes that serial number (0: nobody) and
 *  runs out so many seconds from now. */
void certs_revoke(long serial, long seconds);

#endif
