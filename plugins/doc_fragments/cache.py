# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is for the collection's own use.

from __future__ import annotations


class ModuleDocFragment:
    """The fleet's Nix store, in which one Mac publishes the builder and from which the others take it."""

    DOCUMENTATION = r"""
options:
  cache:
    description:
      - The fleet's own Nix store, as a URL of Nix, for example C(s3://bucket?region=eu-central-1), C(https://cache.example.com),
        C(ssh-ng://cache.example.com) or C(file:///Volumes/cache).
      - Credentials do not belong into it. Nix reads C(/etc/nix/netrc) for http, and this module shows it root's C(~/.aws) for s3.
    type: str
  cache_public_key:
    description: The public half of the key that signs there, as C(name:base64).
    type: str
"""
