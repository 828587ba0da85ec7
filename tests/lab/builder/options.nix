# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The options that the builder's profile and QEMU's module of nixpkgs offer, with the same names and defaults.
lib:
let
  inherit (lib) mkOption types;
  int = default: mkOption { inherit default; type = types.int; };
  str = default: mkOption { inherit default; type = types.str; };
  bool = default: mkOption { inherit default; type = types.bool; };
  names = mkOption { default = [ ]; type = types.listOf types.str; };
  attrs = mkOption { default = { }; type = types.attrs; };
  nullOrStr = default: mkOption { inherit default; type = types.nullOr types.str; };
in
config: {
  # What changes the guest itself; see guest.nix for how it reaches the lab's guest.
  services.openssh.hostKeys = mkOption {
    # The other key that NixOS makes by default (rsa) is left out; nothing here would use it.
    default = [{ type = "ed25519"; path = "/etc/ssh/ssh_host_ed25519_key"; }];
    type = types.listOf types.attrs;
  };
  environment.etc = mkOption {
    default = { };
    type = types.attrsOfSubmodule { enable = bool true; text = str ""; mode = str "symlink"; };
  };
  systemd.services = mkOption {
    default = { };
    type = types.attrsOfSubmodule {
      enable = bool true;
      description = str "";
      after = names;
      before = names;
      requiredBy = names;
      wantedBy = names;
      requires = names;
      environment = attrs;
      script = mkOption { default = ""; type = types.lines; };
      serviceConfig = attrs;
      unitConfig = attrs;
    };
  };
  # Any setting of nix.conf, as NixOS takes them: lists add up, everything else must agree.
  nix.settings = mkOption { default = { }; type = types.attrsOf types.confValue; };
  nix.package = mkOption { default = { pname = "nix"; version = "2.26.3"; }; type = types.attrs; };
  networking.proxy = {
    default = nullOrStr null;
    httpProxy = nullOrStr config.networking.proxy.default;
    httpsProxy = nullOrStr config.networking.proxy.default;
    ftpProxy = nullOrStr config.networking.proxy.default;
    rsyncProxy = nullOrStr config.networking.proxy.default;
    noProxy = nullOrStr null;
  };
  networking.timeServers = names;
  services.timesyncd = {
    enable = bool true;
    servers = mkOption { default = null; type = types.nullOr (types.listOf types.str); };
    fallbackServers = mkOption { default = config.networking.timeServers; type = types.nullOr (types.listOf types.str); };
  };
  networking.hostName = str "nixos";
  system.name = str config.networking.hostName;
  virtualisation = {
    cores = int 1;
    diskSize = int config.virtualisation.darwin-builder.diskSize;
    memorySize = int config.virtualisation.darwin-builder.memorySize;
    # What else belongs to a file system cannot be changed in the lab.
    fileSystems = mkOption { default = { }; type = types.attrsOfSubmodule { autoResize = bool false; }; };
    forwardPorts = mkOption { default = [ ]; type = types.listOf types.attrs; };
    qemu.options = mkOption { default = [ ]; type = types.listOf types.str; };
    darwin-builder = {
      diskSize = int 20480;
      memorySize = int 3072;
      min-free = int 1073741824;
      max-free = int 3221225472;
      workingDirectory = str ".";
      hostPort = mkOption { default = 31022; type = types.port; };
    };
  };
}
