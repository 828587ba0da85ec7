# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The VM of one configuration: guest files, and the script that starts QEMU.
{ lib, system, config }:
let
  inherit (builtins) concatStringsSep fromJSON map readFile replaceStrings toString;
  blobs = fromJSON (readFile ./blobs.json);
  vm = config.virtualisation;

  # The guest's large files are fixed-output derivations whose outputs already lie in the store, so that they
  # are members of the closure like any other.
  blob = name: derivation {
    inherit name system;
    builder = "/bin/false";
    outputHashMode = "flat";
    outputHashAlgo = "sha256";
    outputHash = blobs.${name};
  };

  forward = rule: "hostfwd=${rule.proto or "tcp"}:${rule.host.address or ""}:${toString rule.host.port}-${rule.guest.address or ""}:${toString rule.guest.port}";
in
rec {
  guest = import ./guest.nix { inherit lib config; };

  run = name: script: attributes: derivation ({
    inherit name system;
    builder = "/bin/sh";
    args = [ "-eu" "-c" script ];
    PATH = "/usr/bin:/bin";
    # So that nobody looks for such small things in a binary cache or on another machine; nixpkgs marks its own alike.
    preferLocalBuild = true;
  } // attributes);

  # A script of ./scripts as <out>/bin/<name>, with its @words@ filled in.
  script = name: scriptFrom name name;
  scriptFrom = source: name: words: run name ''
    mkdir -p "$out/bin"
    printf %s "$text" > "$out/bin/$name"
    chmod 0555 "$out/bin/$name"
  '' {
    text = replaceStrings (map (word: "@${word}@") (builtins.attrNames words)) (builtins.attrValues words) (readFile (./scripts + "/${source}.sh"));
  };

  toplevel = run "nixos-system-${config.system.name}-26.05lab" ''
    mkdir "$out"
    ln -s "$kernel" "$out/kernel"
    ln -s "$initrd" "$out/initrd"
    ln -s "$rootfs" "$out/rootfs.tar"
    printf '%s\n' "$parameters" > "$out/kernel-params"
    test -z "$guest" || ln -s "$guest" "$out/guest-configuration"
  '' {
    guest = if guest == null then "" else "${guest}";
    kernel = blob "vmlinux";
    initrd = blob "initrd";
    rootfs = blob "rootfs.tar";
    parameters = "console=ttyS0 quiet panic=1 mitigations=off tsc=reliable no_timer_check";
  };

  vzvm = run "vzvm" ''
    mkdir -p "$out/bin"
    printf %s "$text" > "$out/bin/vzvm"
    chmod 0555 "$out/bin/vzvm"
  '' { text = readFile ./scripts/vzvm.py; };

  runVm = if vm ? vz then scriptFrom "run-nixos-vm-vz" "run-nixos-vm" ({ toplevel = "${toplevel}"; vzvm = "${vzvm}"; } // (import ./vz.nix lib).words config)
  else script "run-nixos-vm" {
    name = config.system.name;
    toplevel = "${toplevel}";
    cores = toString vm.cores;
    memory = toString vm.memorySize;
    disk = toString vm.diskSize;
    forwards = concatStringsSep "," (map forward vm.forwardPorts);
    options = concatStringsSep " " vm.qemu.options;
  };

  vmPackage = run "nixos-vm" ''
    mkdir -p "$out/bin"
    ln -s "$system_" "$out/system"
    ln -s "$run/bin/run-nixos-vm" "$out/bin/run-nixos-vm"
  '' { system_ = toplevel; run = runVm; };
}
