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

  script = hostKeys
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
