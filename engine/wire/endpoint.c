/* SPDX-License-Identifier: Apache-2.0 */
/* One parser for all endpoints that people write, and what the system knows of their hosts. */
#include "endpoint.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

#define TCP "tcp://"
#define HOST_LEN_MAX 253u /* of a name */
#define PORT_MAX 65535u

/* ---- what people write ---- */

static bool is_ipv6(const char *host)
{
	char *address = base_strndup(host, strcspn(host, "%")); /* behind it the interface */
	struct in6_addr ignored;
	bool is = inet_pton(AF_INET6, address, &ignored) == 1;

	free(address);
	return is;
}

/* What cannot be a host: it looks like an address and is none, or has what no name has. */
static bool is_host(const char *host)
{
	struct in_addr ignored;

	if (!*host || strlen(host) > HOST_LEN_MAX)
		return false;
	if (strspn(host, "0123456789.") == strlen(host))
		return inet_pton(AF_INET, host, &ignored) == 1;
	return strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
	       strlen(host);
}

static bool is_port(const char *port, bool listens)
{
	unsigned long n;
	char *end;

	if (!strcmp(port, "*"))
		return listens;
	if (*port < '0' || *port > '9')
		return false;
	n = strtoul(port, &end, 10);
	return !*end && n <= PORT_MAX && (n || listens);
}

struct parts {
	char *host, *port; /* host: without brackets */
	bool brackets;
};

static void parts_fini(struct parts *p)
{
	free(p->host);
	free(p->port);
}

/* HOST[:PORT], [IPV6][:PORT], or an IPv6 address alone. */
static bool split(const char *text, const char *port, struct parts *ret)
{
	const char *close = *text == '[' ? strchr(text, ']') : NULL,
		   *rest = close ? close + 1 : text + strcspn(text, ":");

	if (*text == '[' && !close)
		return false;
	ret->brackets = close != NULL;
	if (!close && is_ipv6(text)) {
		ret->brackets = true;
		rest = text + strlen(text);
	}
	if (*rest && *rest != ':')
		return false;
	ret->host = close ? base_strndup(text + 1, (size_t)(close - text - 1))
			  : base_strndup(text, (size_t)(rest - text));
	ret->port = base_strdup(*rest ? rest + 1 : port);
	return true;
}

int endpoint_parse(const char *written, const char *port, bool listens, char **ret_endpoint, char **ret_text)
{
	const char *text = written, *scheme = strstr(text, "://");
	struct parts p = {0};
	bool any;

	if (scheme && strncmp(text, TCP, strlen(TCP)) != 0) {
		*ret_text = base_format(
			"'%s' is no endpoint: tcp:// is all that is spoken; write HOST:PORT", written);
		return DAG_EINVAL;
	}
	text = scheme ? scheme + 3 : text;
	if (!split(text, port, &p)) {
		*ret_text =
			base_format("'%s' is no endpoint; write HOST:PORT, for IPv6 [ADDRESS]:PORT", written);
		return DAG_EINVAL;
	}
	any = listens && !p.brackets && !strcmp(p.host, "*");
	if (!(p.brackets ? is_ipv6(p.host) : any || is_host(p.host)))
		*ret_text = base_format(
			"'%s' is no endpoint: '%s' is neither a name nor an address", written, p.host);
	else if (!is_port(p.port, listens))
		*ret_text = base_format("'%s' is no endpoint: its port '%s' is not a number from 1 to %u",
			written, p.port, PORT_MAX);
	else {
		*ret_endpoint = base_format(
			p.brackets ? TCP "[%s]:%s" : TCP "%s:%s", p.host, strcmp(p.port, "0") ? p.port : "*");
		*ret_text = NULL;
	}
	parts_fini(&p);
	return *ret_text ? DAG_EINVAL : 0;
}

/* ---- what the system knows of hosts ---- */

/* Of a whole endpoint; the data's may have another port behind a '+'. */
static bool take_apart(const char *endpoint, struct parts *ret)
{
	*ret = (struct parts){0};
	if (strncmp(endpoint, TCP, strlen(TCP)) != 0 || !split(endpoint + strlen(TCP), "", ret))
		return false;
	ret->port[strcspn(ret->port, "+")] = 0;
	return true;
}

/* The caller frees it with freeaddrinfo. */
static int look_up(const struct parts *p, int flags, struct addrinfo **ret_found)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};

	return getaddrinfo(p->host, strcmp(p->port, "*") && *p->port ? p->port : NULL, &hints, ret_found);
}

/* IPv4 first: a name that has both is served there by whoever does not say otherwise. */
static const struct addrinfo *choose(const struct addrinfo *found)
{
	for (const struct addrinfo *a = found; a; a = a->ai_next)
		if (a->ai_family == AF_INET)
			return a;
	return found;
}

static char *host_text(const struct sockaddr *address, socklen_t len)
{
	char text[NI_MAXHOST];

	if (getnameinfo(address, len, text, sizeof(text), NULL, 0, NI_NUMERICHOST) != 0)
		return NULL;
	return base_format(address->sa_family == AF_INET6 ? "[%s]" : "%s", text);
}

/* ZeroMQ binds to an interface by its name, as before. */
static bool is_interface(const char *name)
{
	struct ifaddrs *all, *a;
	bool is = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (a = all; a && !is; a = a->ifa_next)
		is = !strcmp(a->ifa_name, name);
	freeifaddrs(all);
	return is;
}

bool endpoint_is_any(const char *endpoint)
{
	struct parts p;
	bool is = take_apart(endpoint, &p) &&
		  (!strcmp(p.host, "*") || !strcmp(p.host, "0.0.0.0") || !strcmp(p.host, "::"));

	parts_fini(&p);
	return is;
}

bool endpoint_is_named(const char *endpoint)
{
	struct parts p;
	bool is = take_apart(endpoint, &p) && !p.brackets && strcmp(p.host, "*") != 0 &&
		  strspn(p.host, "0123456789.") != strlen(p.host);

	parts_fini(&p);
	return is;
}

int endpoint_to_bind(const char *endpoint, char **ret_endpoint, char **ret_text)
{
	struct parts p = {0};
	struct addrinfo *found = NULL;
	char *host = NULL;
	int r = 0;

	*ret_text = NULL;
	if (!endpoint_is_named(endpoint)) {
		*ret_endpoint = base_strdup(endpoint);
		return 0;
	}
	take_apart(endpoint, &p);
	r = look_up(&p, AI_PASSIVE, &found);
	if (r == 0) {
		const struct addrinfo *a = choose(found);

		host = host_text(a->ai_addr, a->ai_addrlen);
		freeaddrinfo(found);
	} else if (is_interface(p.host)) {
		host = base_strdup(p.host);
	} else {
		*ret_text = base_format("'%s' is not known: %s", p.host, gai_strerror(r));
	}
	if (host)
		*ret_endpoint = base_format(TCP "%s:%s", host, p.port);
	free(host);
	parts_fini(&p);
	return *ret_text ? DAG_EINVAL : 0;
}

int endpoint_address(const char *endpoint, struct sockaddr_storage *ret_address, socklen_t *ret_len)
{
	struct addrinfo *found = NULL;
	const struct addrinfo *a;
	struct parts p;
	int r = take_apart(endpoint, &p) ? look_up(&p, 0, &found) : EAI_NONAME;

	if (r == 0) {
		a = choose(found);
		memcpy(ret_address, a->ai_addr, a->ai_addrlen);
		*ret_len = a->ai_addrlen;
		freeaddrinfo(found);
	}
	parts_fini(&p);
	return r;
}

bool endpoint_is_ipv6(const char *endpoint)
{
	struct sockaddr_storage address;
	socklen_t len;

	if (!endpoint_is_named(endpoint))
		return !strncmp(endpoint, TCP "[", strlen(TCP) + 1);
	return endpoint_address(endpoint, &address, &len) == 0 && address.ss_family == AF_INET6;
}

char *endpoint_own_host(const char *endpoint)
{
	struct sockaddr_storage address, own;
	socklen_t len, own_len = sizeof(own);
	char *result = NULL;
	int fd;

	if (endpoint_address(endpoint, &address, &len) != 0)
		return NULL;
	fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* Connecting a datagram socket sends nothing; it only chooses the way. */
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, len) == 0 &&
		getsockname(fd, (struct sockaddr *)&own, &own_len) == 0)
		result = host_text((struct sockaddr *)&own, own_len);
	if (fd >= 0)
		close(fd);
	return result;
}

static bool is_loopback(const struct sockaddr *address)
{
	const struct in6_addr *six = &((const struct sockaddr_in6 *)address)->sin6_addr;

	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return address->sa_family == AF_INET6 &&
	       (IN6_IS_ADDR_LOOPBACK(six) ||
		       (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == IN_LOOPBACKNET));
}

bool wire_is_local(const char *endpoint)
{
	struct addrinfo *found = NULL;
	struct parts p;
	bool local = false;

	if (wire_is_inproc(endpoint) || !strncmp(endpoint, "ipc://", 6))
		return true;
	if (take_apart(endpoint, &p) && strcmp(p.host, "*") != 0 && look_up(&p, 0, &found) == 0) {
		local = true;
		for (const struct addrinfo *a = found; a; a = a->ai_next)
			local = local && is_loopback(a->ai_addr);
		freeaddrinfo(found);
	}
	parts_fini(&p);
	return local;
}

char *wire_with_port(const char *endpoint, const char *port)
{
	const char *colon = strrchr(endpoint, ':');

	return base_format(
		"%.*s:%s", colon ? (int)(colon - endpoint) : (int)strlen(endpoint), endpoint, port);
}
