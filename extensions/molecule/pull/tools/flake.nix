# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What nixpkgs is on a Mac: ansible-core and git as packages. ansible-core's files are PyPI's and git's Debian's; both run with
# what the stand-in has.
{
  description = "ansible-core and git for a stand-in";

  outputs = { self }:
    let
      system = "x86_64-darwin";
      make = name: script: derivation {
        inherit name system;
        builder = "/bin/sh";
        args = [ "-c" "set -eu; PATH=/usr/bin:/bin; mkdir -p $out/bin; ${script}" ];
      };
      command = name: module: ''
        printf '%s\n' '#!/usr/bin/python3.13' 'import sys' 'sys.path.insert(0, "${./site}")' \
          'from ansible.cli.${module} import main' 'main()' > $out/bin/${name}
        chmod 0755 $out/bin/${name}
      '';
    in {
      packages.${system} = {
        ansible = make "ansible-core" (command "ansible" "adhoc" + command "ansible-playbook" "playbook" + command "ansible-pull" "pull");
        git = make "git" "cp -R ${./git}/. $out/";
      };
    };
}
