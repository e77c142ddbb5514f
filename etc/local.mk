# etc/: what an installation needs beside programs and man pages

# systemd looks below /usr and /usr/local alike.
systemunitdir = $(prefix)/lib/systemd/system
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
confdir = $(sysconfdir)/postamt
fail2bandir = $(sysconfdir)/fail2ban/filter.d

nodist_systemunit_DATA = etc/postamt.service
dist_conf_DATA = etc/postamt.conf.example
dist_fail2ban_DATA = etc/fail2ban/postamt.conf
EXTRA_DIST += etc/postamt.service.in etc/postamt.sysusers etc/postamt.tmpfiles
CLEANFILES += etc/postamt.service

etc/postamt.service: etc/postamt.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) etc && \
	sed -e 's,@sbindir\@,$(sbindir),' -e 's,@bindir\@,$(bindir),' $(top_srcdir)/etc/postamt.service.in >$@.new && mv $@.new $@

# Installed under the names systemd wants.
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(sysusersdir)' '$(DESTDIR)$(tmpfilesdir)'
	$(INSTALL_DATA) $(top_srcdir)/etc/postamt.sysusers '$(DESTDIR)$(sysusersdir)/postamt.conf'
	$(INSTALL_DATA) $(top_srcdir)/etc/postamt.tmpfiles '$(DESTDIR)$(tmpfilesdir)/postamt.conf'

uninstall-local:
	rm -f '$(DESTDIR)$(sysusersdir)/postamt.conf' '$(DESTDIR)$(tmpfilesdir)/postamt.conf'
