# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# `darwin.builder` as nixpkgs had it at first: one script, port 22, no options, nothing passed through.
{ lib, system }:
let
  options = import ./options.nix lib;
  config = lib.evalModules {
    options = options config;
    args = { inherit lib; };
    modules = [ ./profile.nix { virtualisation.forwardPorts = [{ from = "host"; guest.port = 22; host.port = 22; }]; } ];
  };
  vm = import ./vm.nix { inherit lib system config; };
  installCredentials = vm.script "install-credentials" { };
in
(vm.scriptFrom "create-builder-old" "create-builder" { vm = "${vm.vmPackage}"; installCredentials = "${installCredentials}/bin/install-credentials"; })
  // { meta.mainProgram = "create-builder"; }
