# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What every builder's guest has, the old one's too, as the builder's profile and QEMU's module of nixpkgs set it.
{ config, ... }: {
  services.timesyncd.enable = false;
  nix.settings = { inherit (config.virtualisation.darwin-builder) min-free max-free; };
}
