# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# `darwin.linux-builder` and, with vz, `darwin.linux-builder-vz`: { modules } -> package with bin/create-builder and what nixpkgs passes through beside it.
{ lib, system, vz ? false }:
let
  make = { modules }:
    let
      forVz = import ./vz.nix lib;
      options = config: let all = import ./options.nix lib config; in if vz then forVz.options all config else all;
      profile = if vz then forVz.profile else { config, ... }: {
        virtualisation.forwardPorts = [
          { from = "host"; guest.port = 22; host.port = config.virtualisation.darwin-builder.hostPort; }
        ];
      };
      args = { options = options config; inherit lib; pkgs = { stdenv.hostPlatform.system = "x86_64-linux"; inherit lib; }; modulesPath = toString ./.; };
      config = lib.evalModules { options = options config; modules = [ ./profile.nix profile ] ++ modules; inherit args; };
      vm = import ./vm.nix { inherit lib system config; };
      workingDirectory = config.virtualisation.darwin-builder.workingDirectory;
      installCredentials = vm.script "install-credentials" { };
      addKeys = vm.script "add-keys" { inherit workingDirectory; installCredentials = "${installCredentials}/bin/install-credentials"; };
      runBuilder = vm.script "run-builder" { vm = "${vm.vmPackage}"; };
      createBuilder = vm.script "create-builder" { addKeys = "${addKeys}/bin/add-keys"; runBuilder = "${runBuilder}/bin/run-builder"; };
    in
    createBuilder // rec {
      pname = "create-builder";
      meta.mainProgram = "create-builder";
      meta.platforms = [ system ];
      passthru = {
        add-keys = addKeys;
        run-builder = runBuilder;
        nixosConfig = config // { system = config.system // { build = { vm = vm.vmPackage; inherit (vm) toplevel; }; }; };
        nixosOptions = options config;
      };
      inherit (passthru) add-keys run-builder nixosConfig nixosOptions;
      override = changes: make ({ inherit modules; } // (if builtins.isFunction changes then changes { inherit modules; } else changes));
    };
in
make
