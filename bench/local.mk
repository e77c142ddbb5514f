# bench/: figures, side by side with other servers; bench.py drives, load makes the load, disk is the floor under mail,
# sink takes what is sent
noinst_PROGRAMS += bench/load bench/disk bench/sink
bench_load_SOURCES = bench/load.c bench/load.h bench/load_modes.c
bench_disk_SOURCES = bench/disk.c
bench_sink_SOURCES = bench/sink.c
bench_load_LDADD = $(OPENSSL_LIBS)
# the store alone, without a protocol
noinst_PROGRAMS += bench/store
bench_store_SOURCES = bench/store.c
bench_store_LDADD = store/libstore.a $(LIBS_COMMON) $(UNISTRING_LIBS)
EXTRA_DIST += bench/bench.py bench/lists.py bench/outbound.py bench/peers.py bench/rows.py

# All figures, with Postfix and Dovecot when root has them; about 12 minutes, on an otherwise idle machine.
bench: all
	POSTAMT_BUILD=$(abs_top_builddir) PYTHONDONTWRITEBYTECODE=1 python3 $(top_srcdir)/bench/bench.py --json bench.json

# The way out, beside Postfix when root can have it; about 6 minutes.
if HAVE_CMOCKA
BENCH_FILL = tests/unit/queue_fill
endif
bench-outbound: all $(BENCH_FILL)
	POSTAMT_BUILD=$(abs_top_builddir) PYTHONDONTWRITEBYTECODE=1 python3 $(top_srcdir)/bench/outbound.py --json bench-outbound.json

.PHONY: bench bench-outbound
