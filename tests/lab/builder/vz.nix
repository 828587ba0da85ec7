# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What nixpkgs' profile for Virtualization.framework has instead of QEMU's: options of the same names and defaults, and a
# start script of the same shape. The hypervisor underneath is QEMU all the same.
lib:
let
  inherit (builtins) map removeAttrs toJSON toString;
  inherit (lib) mkOption types;
in
{
  options = options: config: options // {
    virtualisation = removeAttrs options.virtualisation [ "fileSystems" "forwardPorts" "qemu" ] // {
      vz = {
        forwardPorts = mkOption { default = [ ]; type = types.listOf types.attrs; };
        nestedVirtualization = mkOption { default = false; type = types.bool; };
        rosetta.enable = mkOption { default = true; type = types.bool; };
        console = mkOption { default = "log"; type = types.str; };
        diskImage = mkOption { default = "./${config.networking.hostName}.qcow2"; type = types.str; };
      };
    };
  };

  profile = { config, ... }: {
    virtualisation.vz.forwardPorts = [
      { host.address = "127.0.0.1"; host.port = config.virtualisation.darwin-builder.hostPort; guest.port = 22; }
    ];
  };

  words = config: let vm = config.virtualisation; in {
    cores = toString vm.cores;
    memory = toString vm.memorySize;
    disk = toString vm.diskSize;
    forwards = toJSON (map
      (rule: { listen = "${rule.host.address or "127.0.0.1"}:${toString rule.host.port}"; vsockPort = rule.guest.port; })
      vm.vz.forwardPorts);
    nested = toJSON vm.vz.nestedVirtualization;
    rosetta = toJSON vm.vz.rosetta.enable;
    inherit (vm.vz) console diskImage;
  };
}
