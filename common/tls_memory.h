/* SPDX-License-Identifier: ISC */
/*
 * Where OpenSSL's large buffers live: beside the heap.  A handshake needs
 * three of them for a moment, between the small pieces that stay for as long
 * as the connection; on the heap each leaves a hole whose edges are pages
 * that cannot be given back.
 *
 * For processes with one thread.
 */
#ifndef COMMON_TLS_MEMORY_H
#define COMMON_TLS_MEMORY_H

/* Before the first use of OpenSSL; later it changes nothing. */
void tls_memory_prepare(void);

/* Gives the pages of buffers that are free back to the system. */
void tls_memory_trim(void);

#endif
