# SPDX-License-Identifier: Apache-2.0
"""Plants small bugs in the cores, one at a time, in a copy of the tree, and says which of the fast tests catches each: the scripts,
the units, the simulator's seeds and crash points, for some an end-to-end test (as root, in a namespace of processes). A test suite that a planted bug passes has a hole.

  sabotage.py [NAME…]        with names: only those
  sabotage.py --places       only looks whether each bug's place is there, for tidy"""
import os
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CORE = "jobmanager/core/"
BUGS = [
    # name, file, what is there, what is put in its place; the end-to-end test that sees it, where no faster one could
    ("late ends count", CORE + "step.c", "	if (!jm_is_live(jm, event->vertex, event->attempt, event->node)) {", "	if (jm->vertices[event->vertex].state != JM_RUNNING) {"),
    ("acknowledge before the commit is durable", CORE + "effects.c", "	case JM_ACK:\n	case JM_RELEASE:\n	case JM_TRIM:", "	case JM_RELEASE:\n	case JM_TRIM:"),
    ("publish before the intent is durable", CORE + "effects.c", "	case JM_TRIM:\n	case JM_PUBLISH:\n", "	case JM_TRIM:\n"),
    ("end before it is durable", CORE + "effects.c", "	case JM_PUBLISH:\n	case JM_END:\n		return true;", "	case JM_PUBLISH:\n		return true;"),
    ("publish while vertices are missing", CORE + "step.c", "(jm->vertices_left && jm->fate", "(jm->vertices_left > 1 && jm->fate"),
    ("a fetch of an old attempt counts", CORE + "output.c", "jm->vertices[event->vertex].attempt != event->attempt)\n		return;", "false)\n		return;"),
    ("the end is forgotten", CORE + "effects.c", '	jm_fact(jm, "ended %d %s", error, text);\n', ""),
    ("the same attempt number again", CORE + "attempt.c", "	return attempt + 1;", "	return attempt ? attempt : 1;"),
    ("no epoch in attempt numbers", CORE + "attempt.c", "uint32_t attempt = JM_ATTEMPT(jm->epoch, 0);", "uint32_t attempt = 0;"),
    ("suspects get work", CORE + "nodes.c", "	return node->up && !node->suspect && jm->now", "	return node->up && jm->now"),
    ("memory is oversubscribed", CORE + "nodes.c", "	return !memory || !node->memory || used + memory <= node->memory;", "	return !memory || !node->memory || memory <= node->memory || used;"),
    ("labels are ignored", CORE + "nodes.c", "	return node_takes_work(jm, n, vertex) && node_has_labels(n, s) &&", "	return node_takes_work(jm, n, vertex) &&"),
    ("no slot is given back", CORE + "gangs.c", "	if (!jm->replaying)\n		attempt_release(jm, vertex);", "	(void)0;"),
    ("consumers are not told of a loss", CORE + "gangs.c", "		if (was_done)\n			count_for_consumers(jm, vertex, false);", "		(void)was_done;"),
    ("what is only fetched counts as on disk", CORE + "output.c", "	if (event->flag)\n		output_on_synced", "	if (true)\n		output_on_synced"),
    ("what vertices read is given back", CORE + "output.c", "	return s->first_out != GRAPH_NONE;", "	return false;"),
    ("parts that are still to be read are given back", CORE + "trim.c", "jm->vertices[s->first_vertex + *released].released)", "true)"),
    ("parts that others read too are given back", CORE + "trim.c", "		if (e != edge && e->stream == edge->stream)\n			return false;", "		(void)e;"),
    ("parts are given back before what came of them is known to be on disk", CORE + "effects.c", "	case JM_RELEASE:\n	case JM_TRIM:\n", "	case JM_RELEASE:\n"),
    ("an output that is written anew is not noted", CORE + "output.c", "	if (jm->outputs[output].synced)\n		jm_fact", "	if (false)\n		jm_fact"),
    ("a file is written over before that is durable", CORE + "output.c", "	e->durable = state->anew;\n", "	(void)e;\n"),
    ("a reset does not fence", CORE + "attempt.c", "		v->fenced = v->highest;", "		(void)0;"),
    ("reset is not journaled", CORE + "gangs.c", "	if (highest && gang->state != JM_WAITING)", "	if (false)"),
    ("upstream is not made again", CORE + "gangs.c", "p->state == JM_DONE && !jm->nodes[p->node].up", "false && p->state == JM_DONE"),
    ("other bytes are not seen", CORE + "gangs.c", "(v->hash_low != o->hash_low || v->hash_high != o->hash_high);", "false;"),
    ("failures are not charged", CORE + "blame.c", "	jm->vertices[vertex].failures++;\n	jm->stages[", "	jm->stages["),
    ("a reader's complaint is believed unseen", CORE + "failure.c", "		if (error && jm->vertices[vertex].state == JM_DONE &&", "		if (jm->vertices[vertex].state == JM_DONE &&"),
    ("a lost output is not needed", CORE + "failure.c", "	vertex_each_consumer(jm, vertex, look_at_consumer, &need);\n", ""),
    ("a gang is not told of its broken member", CORE + "failure.c", "		if (at != DAG_NEVER)\n			rerun_unexplained(jm, gang);", "		(void)rerun_unexplained;"),
    ("a dead node's work goes on", CORE + "failure.c", "			run_again(jm, v, 0);\n", "			(void)0;\n"),
    ("adoption does not look at inputs", CORE + "resume.c", "	same = r.whole &&", "	same = true ||"),
    ("held data is not looked for", CORE + "resume.c", "	return !jm->vertices[vertex].held;", "	return false;"),
    ("what is found and unknown stays", CORE + "found.c", "		else\n			jm_kill(jm, node, f->vertex, f->attempt);", "		else\n			(void)0;"),
    ("commits are replayed under any number", CORE + "replay.c", "	attempt_set(jm, vertex, attempt, node);\n", "	attempt_set(jm, vertex, v->attempt, node);\n"),
    ("the intent is not replayed", CORE + "replay.c", "		jm->fate = JM_FATE_DECIDED;", "		jm->fate = JM_FATE_OPEN;"),
    ("no copy is ever started", CORE + "speculation.c", "		if (!may_speculate(&jm->stages[i], s))\n			continue;", "		continue;"),
    ("the loser of two copies runs on", CORE + "speculation.c", "	jm_kill(jm, second->node, vertex, second->attempt);\n", ""),
    ("who runs alone keeps its number", CORE + "alone.c", "attempt_next(jm, gang), ATTEMPT_ALONE);", "v->attempt, ATTEMPT_ALONE);\n	(void)attempt_next;"),
    ("alone beside a dead producer", CORE + "alone.c", "	node = p.whole ? find_node(jm, vertex) : JM_NODE_NONE;", "	node = find_node(jm, vertex);"),
    ("who feeds a pipe runs alone too", CORE + "alone.c", "		if (e->from == s->id || ", "		if ("),
    ("a committed reader is adopted beside later producers", CORE + "resume.c", "r->whole = r->whole && a && pair[1] <= r->limit;", "r->whole = r->whole && a;"),
    ("a node without space does not rest", CORE + "failure.c", "	if (o->error == DAG_ENOSPC)\n		node_rest(jm, v->node);\n", ""),
    ("what is behind a failed vertex runs on", CORE + "gangs.c", "			gang_reset_followers(jm, vertex);\n", ""),
    ("what is behind reads the copy that lost", CORE + "gangs.c", "	gang_reset_followers(jm, vertex); /* that read the other one */\n", ""),
    ("what is behind may be committed first", CORE + "step.c", "	if (v->chained) { /* it", "	if (false) { /* it"),
    ("what is behind may miss more than one", CORE + "chain.c", "v->missing != 1 || ", ""),
    ("a chain goes on elsewhere", CORE + "chain.c", "		attempt_start_single(jm, next, node);", "		attempt_start_single(jm, next, 0);"),
    ("a producer without a group is not needed", CORE + "failure.c", "			return true; /* somebody will */", "			break;"),
    ("one that is lost keeps its place in the list", CORE + "gangs.c", "			groups_take_back(jm, e, index);", "			(void)0;"),
    ("who is left out is waited for", CORE + "refine.c", "			gangs_count_edge(jm, e, -(int64_t)left_out);", "			(void)left_out;"),
    ("groups are not journaled", CORE + "refine.c", '	jm_fact(jm, "grouped %u', '	if (false)\n		jm_fact(jm, "grouped %u'),
    ("widths are not journaled", CORE + "refine.c", '	jm_fact(jm, "width %u', '	if (false)\n		jm_fact(jm, "width %u'),
    ("the last groups come too early", CORE + "refine.c", "g->first[g->count] + g->waiting < width)", "g->first[g->count] + g->waiting + 1 < width)"),
    ("groups take all consumers early", CORE + "refine.c", "(uint64_t)(e->to_width - g->count - 1) * e->groups.most >= rest;", "rest < UINT64_MAX && e->to_width > g->count;"),
    ("a stage starts before its width is known", CORE + "vertices.c", " || (s->width_by_data && !jm->stages[s->id].settled))", ")"),
    ("parts are left unread", CORE + "edges.c", "	*ret_count = (uint32_t)(((uint64_t)consumer + 1) * e->parts / width) - first;", "	*ret_count = e->parts / width;"),
    ("a replayed group leaves its producers in the lists", CORE + "refine.c", "		groups_take_back(jm, e, producers[i]);", "		(void)0;"),
    ("what is added is not journaled", CORE + "open.c", "	if (!jm->replaying)\n		note(jm, stage", "	if (false)\n		note(jm, stage"),
    ("an added vertex does not wait for what it reads", CORE + "open.c", "		vertex_wait(jm, vertex, jm->vertices[producer].state != JM_DONE);", "		(void)producer;"),
    ("an added vertex reads what may be left out", CORE + "open.c", "	return jm->stages[stage].settled ? jm->stages[stage].width : 0;", "	return jm->stages[stage].width;"),
    ("what an added vertex reads may be gone", CORE + "open.c", "		vertex_each_producer(jm, vertex, gang_invalidate_if_gone, NULL);", "		(void)gang_invalidate_if_gone;"),
    ("a result that is gone is not made again", CORE + "open.c", "	if (v->state == JM_DONE && v->attempt == event->attempt)\n		gang_inv", "	if (false)\n		gang_inv"),
    ("a closed stage's outputs are never whole", CORE + "output.c", "			jm->outputs_left--; /* all", "			(void)0; /* all"),
    ("outputs of a full stage are counted twice", CORE + "output.c", "width < s->width && jm->outputs", "jm->outputs"),
    ("a job ends while a stage is open", CORE + "step.c", " || jm->open_left ||", " ||"),
    ("who complains after the end is judged for ever", CORE + "failure.c", "i < jm->complaint_count && !jm->ended; i++)\n		if (jm->vertices", "i < jm->complaint_count; i++)\n		if (jm->vertices"),
    ("an attempt is adopted of a vertex that nobody added", CORE + "resume.c", " || !vertex_is_decided(jm, vertex))", ")"),
    ("what failed is tried again at once", CORE + "failure.c", "	run_again(jm, vertex, pause);\n}", "	run_again(jm, vertex, 0);\n}"),
    ("who runs again alone does not pause", CORE + "alone.c", "	if (pause)\n		pause_start", "	if (false)\n		pause_start"),
    ("pauses do not grow", CORE + "pause.c", "		pause *= 2;", "		pause += 0;"),
    ("retries that a user wrote are not kept to", CORE + "failure.c", "last && !s->retries_said && is_alike", "last && is_alike"),
    ("memory twice is not alike", CORE + "failure.c", "	if (b->error == DAG_ELIMIT || b->error == DAG_ETIMEDOUT)\n		return true;\n", ""),
    ("failures are forgotten by a resume", CORE + "replay.c", "	blame_remember(jm, vertex, node, &o);\n", "	(void)o;\n"),
    ("daemons that ended are forgotten by a resume", CORE + "nodes.c", "	jm->nodes[n].downs += !up;\n	jm->node_deaths += died;\n", "	jm->nodes[n].downs += !up;\n	(void)died;\n"),
    ("a vertex is blamed where daemons end everywhere", CORE + "blame.c", " && deaths * 2 > jm->node_deaths;", ";"),
    ("a vertex takes all nodes with it", CORE + "blame.c", "	if (guilty.count)\n", "	if (false)\n"),
    ("who ran beside a culprit is blamed", CORE + "blame.c", "suspects == 1 ? JM_DEATHS_ALONE : JM_DEATHS_MAX", "JM_DEATHS_ALONE"),
    ("labels of who reads something are not looked at", CORE + "hopeless.c", "	if (s->kind == GRAPH_INPUT || ", "	if (s->kind == GRAPH_INPUT || s->in_count || "),
    ("a gang that never fits is waited for", CORE + "hopeless.c", "	if (jm->large_ready && !jm->ended)\n", "	if (false)\n"),
    ("nodes that are on their way are not waited for", CORE + "hopeless.c", "	if (jm->nodes_coming && waited < COMING_MAX)\n		return false;\n", ""),
    ("a node that was there is not waited for", CORE + "hopeless.c", "			hope = HOPE_GONE;\n", "			(void)hope;\n"),
    ("members are placed in their order only", CORE + "spread.c", "	if (left && s.mixed) {", "	if (false) {"),
    ("fifo groups are torn", CORE + "spread.c", "		if (g && unit_of[g - first_group]) {", "		if (false) {"),
    ("an avoided node gets nothing at all", CORE + "nodes.c", "		if (!jm->nodes[i].avoided && node_could_run(jm, &jm->nodes[i], vertex))", "		if (!jm->nodes[i].avoided && jm->nodes[i].up)"),
    ("who waits in a node's queue may starve", CORE + "round.c", "		starving = starving_in(jm, &jm->nodes[i].queue);", "		starving = 0;"),
    ("names are written as they are", CORE + "facts.c", "(unsigned char)*c < ' ' || *c == 0x7f || *c == '\\\\'", "false"),
    ("attempts get the next epoch's numbers", CORE + "gangs.c", "	if (JM_ATTEMPT_NUMBER(highest) >= JM_ATTEMPTS_MAX && ", "	if (false && "),
    ("a list keeps the bytes of what went into a group", CORE + "refine.c", "		list->bytes -= groups_bytes(jm, e, list->items[i]);\n", "		(void)i;\n"),
    ("racks are ignored", CORE + "round.c", "*holder->rack && !strcmp(holder->rack, taker->rack) ?", "false ?"),
    ("silence is never death", CORE + "detector.c", "			nodes[i].verdict = DETECTOR_IS_DEAD;", "			(void)0;"),
    ("the failure detector's own stall kills", CORE + "detector.c", "	if (now - detector->last_look > DETECTOR_STALL)\n		detector->floor = now;\n", ""),
    ("a judge that is cut off condemns all", CORE + "detector.c", "		if (detector->cut_off || quiet <= DETECTOR_DEAD)", "		if (quiet <= DETECTOR_DEAD)"),
    ("repeats are delivered twice", "engine/wire/link.c", "	return seq <= link->received ? LINK_DUPLICATE : LINK_GAP;", "	return seq <= link->received && seq ? LINK_DELIVER : LINK_GAP;"),
    ("gaps are passed over", "engine/wire/link.c", "	if (seq == link->received + 1) {", "	if (seq > link->received) {"),
    ("nothing is repeated", "engine/wire/link.c", "	if (link->first == link->count || now - link->last_progress < LINK_REPEAT)", "	if (true)"),
    ("a forgotten node is never heard", "nameserver/core/registry.c", "		if (now - n->heard > REGISTRY_EXPIRY) {", "		if (false) {"),
    ("more slots than there are", "daemon/core/slots.c", "	uint32_t left = total;", "	uint32_t left = total * 2;"),
    ("end of stream is ignored", "engine/channel/core/fetch.c", "	if (blocks != f->next)\n		return FETCH_ASK_AGAIN;", "	(void)blocks;"),
    ("a block out of order is taken", "engine/channel/core/fetch.c", "	if (seq > f->next)\n		return FETCH_ASK_AGAIN;\n", ""),
    ("a pipe's block goes before all have read it", "engine/channel/core/live.c", "			least = DAG_MIN(least, part->readers[i].consumed);", "			least = DAG_MAX(least, part->readers[i].consumed);"),
    ("a kept pipe's blocks go as they are read", "engine/channel/core/live.c", "	if (part->kept || part->first", "	if (part->first"),
    ("a reader that failed had enough", "engine/channel/core/live.c", "	*reader = part->readers[--part->reader_count];", "	reader->closed = true;"),
    ("a damaged block is taken", "engine/channel/data_read.c", "	return r->dealer->local || h->checksum == hash_64(a->payload, h->length);", "	return true;"),
    ("a damaged block is taken into the hash", "engine/channel/data_read.c", "	hash_state_set(r->hash, d->before);\n	return false;", "	return false;"),
    ("a block that is not what its writer hashed is taken", "engine/channel/data_read.c", "	if (hash_state_digest(r->hash).low == h->checksum)\n", "	if (h->checksum)\n"),
    ("what came is never compared with what was written", "engine/channel/data_read.c", "	if (r->hash && m->checked && !hash", "	if (false && !hash"),
    ("a chain is never prolonged", CORE + "chain.c", "	if (!pieces || jm->ended || ", "	if (true || jm->ended || "),
    ("a chain goes on while others wait", CORE + "chain.c", "	return !jm->ready_count && node->used - node->chained <= node->granted;", "	return !jm->ready_count || node->used;"),
    ("what waits for one peer goes to another", "engine/channel/data_outbox.c", "	return o->socket == socket && o->peer.identity_len == peer->identity_len &&\n	       !memcmp(o->peer.identity, peer->identity, peer->identity_len);", "	return o->socket == socket;"),
    ("what somebody else sealed is taken", "engine/wire/seal.c", "	return !gcry_cipher_checktag(", "	return true || !gcry_cipher_checktag("),
    ("a frame is taken in another's place", "engine/wire/seal.c", "	nonce[GCM_NONCE_LEN - 1] ^= frame;\n", "	(void)frame;\n"),
    ("every message has the same nonce", "engine/channel/frames.c", "	os_draw(nonce, SEAL_NONCE_LEN);\n", "	memset(nonce, 0, SEAL_NONCE_LEN);\n"),
    ("answers go out as they are", "engine/channel/data_outbox.c", "	if (answers && d->seal)\n", "	if (false)\n"),
    ("an end overtakes a block that waits for memory", "engine/channel/data_read.c", "		if (d->waiting[i].channel == r->channel) {", "		if (false) {"),
    ("vertices that do not follow are acknowledged", "daemon/keep.c", "last->vertex + last->more + 1 != r->vertex ||", "false ||"),
    ("a daemon takes up what another one's folder holds", "daemon/spool.c", "	if (s->memory_lock >= 0) /*", "	if (true) /*"),
    ("a skip ends within a line", "engine/vertex/source.c", "	s->skip_first = s->format.kind == DAG_FORMAT_LINES || s->format.kind == DAG_FORMAT_KV;\n", "	s->skip_first = false;\n"),
    ("a frame's length is believed", "engine/channel/frames.c", "	if (next > len - from)\n		return NULL;", "	(void)0;"),
    ("an index out of bounds is taken", "engine/channel/block.c", "	return p->first_block <= v->header->blocks && p->block_count <= v->header->blocks - p->first_block;", "	(void)v;\n	(void)p;\n	return true;"),
    ("numbers are told apart by 16 digits", "engine/vertices/number.c", " | digits << 1 | more;", " | digits << 1;"),
    ("what a limb is too much for is lost", "engine/vertices/total.c", "value = sum >= LIMB ? 1 : sum <= -LIMB ? -1 : 0;", "value = 0;"),
    ("of fractions the longer one is the greater", "engine/vertices/number.c", "int c = n ? memcmp(a->frac, b->frac, n) : 0;", "int c = 0;"),
    ("what a reader of intact data is charged for is not journaled", CORE + "failure.c", '		jm_fact(jm, "misread', '		if (false)\n		jm_fact(jm, "misread'),
    ("an input that cannot be read is tried for ever", CORE + "failure.c", "	if (++v->source_failures >= JM_SOURCE_TRIES || ", "	if (++v->source_failures == UINT8_MAX || "),
    ("a silent connection is never dialled anew", "engine/wire/silence.c", "	silence->hasted = true;\n	return true;", "	silence->hasted = true;\n	return false;"),
    ("a connection that broke is waited for", "engine/wire/silence.c", "		return silence->again && now >= silence->again;", "		return false;"),
    ("who stood still himself dials anew", "engine/wire/silence.c", "to be read */\n		silence->since = now;", "to be read */\n		(void)0;"),
    ("an input that needs records comes as bytes", "engine/graph/formats.c", "	if (needs_records(graph, e) || (to->kind", "	if ((to->kind"),
    ("records that are passed on become bytes", "engine/graph/formats.c", "		if (passes(graph->stages[e->to], e->to_port) && brings_records(graph, e))", "		if (passes(graph->stages[e->to], e->to_port) && !e)"),
    ("a word that parts records needs none", "engine/graph/formats.c", "	return e->partition.kind != GRAPH_BY_DEFAULT || graph_wanted_parts(e) > 1;", "	return graph_wanted_parts(e) > 1;"),
    ("an unknown word in braces is text", "lang/text.c", "	if (!len)\n		len = looks_like_word(at);", "	(void)looks_like_word;"),
    ("two braces stay two", "lang/text.c", "		add(t, at, 1, false);\n		return 2;", "		add(t, at, 2, false);\n		return 2;"),
    ("a publication that fails is left half done", "jobmanager/exchange.c", "	if (error && !exchange_undo(x)) {", "	if (false && !exchange_undo(x)) {"),
    ("what was there before an output is written over", "jobmanager/exchange.c", "renameat2(AT_FDCWD, f->temporary, AT_FDCWD, f->path, RENAME_EXCHANGE) == 0)", "rename(f->temporary, f->path) == 0)"),
    ("a file that is not ours is taken back", "jobmanager/exchange.c", "	if (inode_of(f->path) != f->inode) {", "	if (false) {"),
    ("a word lets in twice", "engine/wire/door.c", "		if (found)\n			explicit_bzero(e", "		if (false)\n			explicit_bzero(e"),
    ("any word lets in", "engine/wire/door.c", " && is(q, CREDENTIALS + 1, e->word)", ""),
    ("what a killed host started lives on", "engine/vertex/guard.c", "	strays_end(NULL, 0, false);\n	if (page", "	if (page", "test_programs nothing_is_left_of_a_killed_host"),
    ("a guard does not see that its daemon is gone", "engine/vertex/guard.c", "		if (fds[1].revents) {\n			kill(host, SIGKILL);", "		if (fds[1].revents) {", "test_programs nothing_is_left_of_a_killed_run"),
]


def run(args, cwd, timeout=300):
    try:
        return subprocess.run(args, cwd=cwd, capture_output=True, timeout=timeout).returncode
    except subprocess.TimeoutExpired:
        return 124


UNITS = ["channel", "core", "graph", "lang", "shells", "data", "seal", "session", "source", "number", "exchange"]


def end_to_end(tree, test):
    """What a test starts ends with it, also where the planted bug is that it would not."""
    suite, name = test.split()
    if run(["ninja", "-C", os.path.join(tree, "build")], tree, 900):
        return "the compiler"
    script = f"DAGRUN_BUILD={tree}/build python3 tests/e2e/{suite}.py {name}; exit $?"
    return test if run(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script], tree, 300) else None


def catcher(tree, test=None):
    """The first test that fails, or None."""
    b = os.path.join(tree, "build")
    if test:
        return end_to_end(tree, test)
    if run(["ninja", "-C", b, "tests/jm_script", "tests/dagrun-sim", *("tests/test_" + u for u in UNITS)], tree):
        return "the compiler"
    scripts = sorted(os.path.join(tree, "tests/script", n) for n in os.listdir(os.path.join(tree, "tests/script")) if n.endswith(".txt"))
    checks = [("scripts", [b + "/tests/jm_script", *scripts]), *(("unit " + u, [b + "/tests/test_" + u]) for u in UNITS),
              ("simulator", [b + "/tests/dagrun-sim", "--seeds", "500"]), ("crash points", [b + "/tests/dagrun-sim", "--crash-points"])]
    for name, args in checks:
        if run(args, tree, 90):
            return name
    return None


def places():
    moved = []
    for name, file, there, *_ in BUGS:
        path = os.path.join(SOURCE, file)
        if not os.path.exists(path) or there not in open(path).read():
            moved.append(f"# '{name}': its place in {file} has moved; give it the new one in tests/sabotage/sabotage.py")
    print("\n".join(["1..1", *moved, f"{'not ok' if moved else 'ok'} 1 - places of planted bugs"]))
    return bool(moved)


def main():
    wanted = sys.argv[1:]
    tree = tempfile.mkdtemp(prefix="dagrun-sabotage-")
    caught = tried = 0
    sound = set()  # end-to-end tests that pass
    try:
        names = subprocess.run(["git", "ls-files"], cwd=SOURCE, capture_output=True, check=True, text=True).stdout.split("\n")
        for name in filter(None, names):
            os.makedirs(os.path.join(tree, os.path.dirname(name)), exist_ok=True)
            shutil.copy2(os.path.join(SOURCE, name), os.path.join(tree, name))
        subprocess.run(["meson", "setup", "build", "-Doptimization=1"], cwd=tree, check=True, capture_output=True)
        first = catcher(tree)
        if first:
            print(f"the tree as it is fails: {first}")
            return 2
        for name, file, there, instead, *test in BUGS:
            if wanted and name not in wanted:
                continue
            if test and test[0] not in sound:
                sound.add(test[0])
                if catcher(tree, *test):
                    print(f"the tree as it is fails: {test[0]}")
                    return 2
            path = os.path.join(tree, file)
            with open(path) as f:
                text = f.read()
            if there not in text:
                print(f"not planted  {name}: its place in {file} is not there any more")
                tried += 1
                continue
            with open(path, "w") as f:
                f.write(text.replace(there, instead, 1))
            by = catcher(tree, *test)
            with open(path, "w") as f:
                f.write(text)
            tried += 1
            caught += by is not None
            print(f"{'caught' if by else 'MISSED':12} {name}{': ' + by if by else ''}", flush=True)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    print(f"{caught} of {tried} planted bugs were caught")
    return caught < tried - 2


if __name__ == "__main__":
    sys.exit(places() if sys.argv[1:] == ["--places"] else main())
