# bench/: figures, side by side with other servers; bench.py drives, load makes the load
noinst_PROGRAMS += bench/load
bench_load_SOURCES = bench/load.c bench/load.h bench/load_modes.c
bench_load_LDADD = $(OPENSSL_LIBS)
EXTRA_DIST += bench/bench.py bench/peers.py
# the store alone, without a protocol
noinst_PROGRAMS += bench/store
bench_store_SOURCES = bench/store.c
bench_store_LDADD = store/libstore.a $(LIBS_COMMON) $(UNISTRING_LIBS)
