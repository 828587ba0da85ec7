# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What a configuration changes in the guest, as a derivation that only Linux can build: a script that the guest's
# first process runs in the new root. null where nothing differs from the stock image, so that the stock builder
# needs no Linux builder, as with nixpkgs.
{ lib, config }:
let
  inherit (builtins) attrNames concatMap concatStringsSep filter isBool isList map replaceStrings toString;

  quoted = text: "'" + replaceStrings [ "'" ] [ "'\\''" ] text + "'";
  word = value: if isBool value then (if value then "true" else "false") else toString value;
  section = values: map (name: concatStringsSep "\n" (map (value: "${name}=${word value}") (if isList values.${name} then values.${name} else [ values.${name} ]))) (attrNames values);
  # A value in nix.conf.
  conf = value: if value == null then "" else if isList value then concatStringsSep " " (map conf value) else word value;
  # Percent signs begin specifiers of systemd.
  assign = name: value: replaceStrings [ "%" ] [ "%%" ] "${name}=${word value}";
  list = name: values: if values == [ ] then [ ] else [ "${name}=${concatStringsSep " " values}" ];

  write = path: mode: text: ''
    mkdir -p ${quoted (builtins.dirOf path)}
    printf '%s\n' ${quoted text} > ${quoted path}
    chmod ${mode} ${quoted path}
  '';

  etc = name:
    let entry = config.environment.etc.${name}; path = "/etc/${name}"; in
    if !entry.enable then "rm -f ${quoted path}\n"
    else write path (if entry.mode == "symlink" then "0444" else entry.mode) entry.text;

  service = name:
    let
      unit = config.systemd.services.${name};
      program = "/etc/systemd/scripts/${name}-start";
      start = if unit.script == "" then { } else { ExecStart = program; };
      text = concatStringsSep "\n" (
        [ "[Unit]" "Description=${unit.description}" ]
        ++ list "After" unit.after ++ list "Before" unit.before ++ list "Requires" unit.requires ++ section unit.unitConfig
        ++ [ "[Service]" ] ++ section (start // unit.serviceConfig)
        ++ map (name: "Environment=\"${assign name unit.environment.${name}}\"") (attrNames unit.environment)
      );
      link = kind: target: ''
        mkdir -p ${quoted "/etc/systemd/system/${target}.${kind}"}
        ln -sfn ${quoted "../${name}.service"} ${quoted "/etc/systemd/system/${target}.${kind}/${name}.service"}
      '';
    in
    if !unit.enable then ""
    else
      write "/etc/systemd/system/${name}.service" "0644" text
      + (if unit.script == "" then "" else write program "0755" "#!/bin/sh -e\n${unit.script}")
      + concatStringsSep "" (map (link "wants") unit.wantedBy ++ map (link "requires") unit.requiredBy);

  stockKeys = [{ type = "ed25519"; path = "/etc/ssh/ssh_host_ed25519_key"; }];
  keys = config.services.openssh.hostKeys;
  hostKeys = if keys == stockKeys then "" else ''
    sed -i '/^HostKey /d' /etc/ssh/sshd_config
    printf '%s\n' ${concatStringsSep " " (map (key: quoted "HostKey ${key.path}") keys)} >> /etc/ssh/sshd_config
  '';

  # The lab's guest has these lines in its image (files/etc/nix/builder.conf).
  stockSettings = { min-free = 1073741824; max-free = 3221225472; };
  settings = config.nix.settings;
  nixConf = if settings == stockSettings then ""
    else write "/etc/nix/builder.conf" "0444" (concatStringsSep "\n" (map (name: "${name} = ${conf settings.${name}}") (attrNames settings)));

  # NixOS gives these to the Nix daemon, and to every login.
  proxy = config.networking.proxy;
  given = filter (pair: pair.value != null) [
    { name = "http_proxy"; value = proxy.httpProxy; }
    { name = "https_proxy"; value = proxy.httpsProxy; }
    { name = "ftp_proxy"; value = proxy.ftpProxy; }
    { name = "rsync_proxy"; value = proxy.rsyncProxy; }
    { name = "no_proxy"; value = if proxy.noProxy != null then proxy.noProxy else if proxy.default != null then "127.0.0.1,localhost" else null; }
  ];
  proxyEnvironment = if given == [ ] then ""
    else write "/etc/systemd/system/nix-daemon.service.d/proxy.conf" "0444"
      (concatStringsSep "\n" ([ "[Service]" ] ++ map (pair: "Environment=\"${assign pair.name pair.value}\"") given));

  time = config.services.timesyncd;
  timeServers = name: values: if values == null then [ ] else [ "${name}=${concatStringsSep " " values}" ];
  timeSync = if !time.enable then ""
    else write "/etc/systemd/timesyncd.conf" "0444"
      (concatStringsSep "\n" ([ "[Time]" ] ++ timeServers "NTP" time.servers ++ timeServers "FallbackNTP" time.fallbackServers))
    + ''
      mkdir -p /etc/systemd/system/sysinit.target.wants
      ln -sfn /usr/lib/systemd/system/systemd-timesyncd.service /etc/systemd/system/sysinit.target.wants/systemd-timesyncd.service
    '';

  # NixOS grows the root before or while it mounts it. Here the data disk is seen as /nix, and systemd's own program for
  # it does the work.
  grown = (config.virtualisation.fileSystems."/" or { autoResize = false; }).autoResize;
  growth = if !grown then "" else write "/etc/systemd/system/grow-data-disk.service" "0444" ''
    [Unit]
    Description=Grow the file system to the size of the data disk
    DefaultDependencies=no
    Before=sysinit.target
    [Service]
    Type=oneshot
    ExecStart=/usr/lib/systemd/systemd-growfs /nix
  '' + ''
    mkdir -p /etc/systemd/system/sysinit.target.wants
    ln -sfn ../grow-data-disk.service /etc/systemd/system/sysinit.target.wants/grow-data-disk.service
  '';

  script = hostKeys + nixConf + proxyEnvironment + timeSync + growth
    + concatStringsSep "" (map etc (attrNames config.environment.etc))
    + concatStringsSep "" (map service (attrNames config.systemd.services));
in
if script == "" then null
else derivation {
  name = "guest-configuration";
  system = "x86_64-linux";
  builder = "/bin/sh";
  # The sandbox of the guest has a shell and no other program.
  args = [ "-eu" "-c" ''read -r kernel _ < /proc/version; test "$kernel" = Linux; printf %s "$text" > "$out"'' ];
  text = "set -eu\n" + script;
}
