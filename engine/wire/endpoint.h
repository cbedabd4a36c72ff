/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_ENDPOINT_H
#define WIRE_ENDPOINT_H
/*
 * Endpoints. Inside of dagrun they are whole: tcp://HOST:PORT, where HOST is a name, an IPv4 address, `*`, or
 * an IPv6 address in brackets; or inproc://NAME. People may leave tcp:// and the port away.
 */
#include "base/base.h"

#include <sys/socket.h>

#define ENDPOINT_NAMESERVER_PORT "7700"

/*
 * The whole endpoint of what a person wrote; `port` is what it gets where none is said. `listens`: "*" is a
 * host and a port, too. DAG_EINVAL with a text that says what is wrong with it. Caller frees both.
 */
int endpoint_parse(const char *written, const char *port, bool listens, char **ret_endpoint, char **ret_text);
/*
 * Where to bind: with the address of a name, since ZeroMQ does not look names up there. DAG_EINVAL with a
 * text where there is none. May ask the network.
 */
int endpoint_to_bind(const char *endpoint, char **ret_endpoint, char **ret_text);
/* An address of it, to connect to; of a name the IPv4 one, if it has any. May ask the network. 0 or an error
 * of getaddrinfo. */
int endpoint_address(const char *endpoint, struct sockaddr_storage *ret_address, socklen_t *ret_len);
/* True where ZeroMQ must be told that it is IPv6. Asks the network only for names. */
bool endpoint_is_ipv6(const char *endpoint);
/* True where its host is a name. */
bool endpoint_is_named(const char *endpoint);
/* Our own host, as endpoints write it, from where the endpoint is reached; NULL where it cannot be told. */
char *endpoint_own_host(const char *endpoint);
/* A host that stands for all addresses, which nobody can dial. */
bool endpoint_is_any(const char *endpoint);

/* True for inproc, ipc and loopback addresses: nobody on another machine reaches them. Asks the network for
 * names. */
bool wire_is_local(const char *endpoint);
/* The endpoint's address with another port, or "*" for any; caller frees. */
char *wire_with_port(const char *endpoint, const char *port);

/* Within this process: nothing to encrypt, and nothing is damaged on its way. */
static inline bool wire_is_inproc(const char *endpoint)
{
	return !strncmp(endpoint, "inproc://", 9);
}

#endif
