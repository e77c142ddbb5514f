"""Postfix + Dovecot in a throw-away folder, for bench.py."""


class PeersError(Exception):
    pass


def makers(users, password):
    return {}
