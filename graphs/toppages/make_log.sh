#!/bin/sh
# Prints an access log of N lines in the common log format; the same N and SEED give the same log.
# usage: make_log.sh N [SEED]
exec awk -v n="${1:?usage: make_log.sh N [SEED]}" -v seed="${2:-1}" 'BEGIN {
	srand(seed)
	for (i = 0; i < n; i++) {
		client = int(300 * rand() * rand()); page = int(1000 * rand() * rand() * rand()); second = i % 86400
		printf "10.0.%d.%d - - [21/Nov/2026:%02d:%02d:%02d +0000] \"GET /page/%d.html HTTP/1.1\" %d %d\n", client / 250,
			client % 250, second / 3600, second / 60 % 60, second % 60, page, rand() < 0.97 ? 200 : 404, 200 + int(rand() * 9000)
	}
}'
