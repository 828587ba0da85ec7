# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# As much of nixpkgs' `lib` and module system as a `.override { modules = [ ... ]; }` of the builder uses.
let
  inherit (builtins) all attrNames concatLists concatMap concatStringsSep filter foldl' head isAttrs isBool isFunction isInt isList
    isPath isString map mapAttrs removeAttrs toJSON;

  mkOverride = priority: content: { _type = "override"; inherit priority content; };
  isOption = value: isAttrs value && value._type or null == "option";
  isOverride = value: isAttrs value && value._type or null == "override";
  isIf = value: isAttrs value && value._type or null == "if";

  # A definition of an option, looked at no earlier than the option's value is: { active, priority, value }.
  definition = value:
    let
      content = if isIf value || isOverride value then definition value.content else { active = true; priority = 100; inherit value; };
    in {
      active = if isIf value then value.condition && content.active else content.active;
      priority = if isOverride value then value.priority else content.priority;
      inherit (content) value;
    };
  # A set of options, or nothing where its condition is false.
  conditioned = value: if isIf value then (if value.condition then conditioned value.content else { }) else value;

  types = {
    int = { name = "signed integer"; check = isInt; merge = one; };
    port = { name = "16 bit unsigned integer; between 0 and 65535 (both inclusive)"; check = v: isInt v && v >= 0 && v <= 65535; merge = one; };
    bool = { name = "boolean"; check = isBool; merge = one; };
    str = { name = "string"; check = isString; merge = one; };
    attrs = { name = "attribute set"; check = isAttrs; merge = _path: foldl' (a: b: a // b) { }; };
    lines = { name = "strings concatenated with \"\\n\""; check = isString; merge = _path: concatStringsSep "\n"; };
    listOf = inner: {
      name = "list of ${inner.name}";
      check = v: isList v && all inner.check v;
      merge = _path: concatLists;
    };
    nullOr = inner: {
      name = "null or ${inner.name}";
      check = v: v == null || inner.check v;
      merge = path: values: if all (v: v == null) values then null else inner.merge path (filter (v: v != null) values);
    };
    # What a line of nix.conf can hold.
    confValue = rec {
      name = "Nix config atom (null, bool, int, float, str, path or package) or list of them";
      atom = v: v == null || isBool v || isInt v || builtins.isFloat v || isString v || isPath v;
      check = v: atom v || (isList v && all atom v);
      merge = path: values: if all isList values then concatLists values else one path values;
    };
    # Any names, each with a value of the type.
    attrsOf = inner: { name = "attribute set of ${inner.name}"; check = isAttrs; members = mkOption { default = null; type = inner; }; };
    # Any names, each with the same options; what is none of them throws as everywhere.
    attrsOfSubmodule = members: { name = "attribute set of (submodule)"; check = isAttrs; inherit members; };
  };

  show = concatStringsSep ".";

  one = path: values:
    if all (value: value == head values) values then head values
    else throw "The option `${path}' has conflicting definition values: ${concatStringsSep ", " (map toJSON values)}. Use `lib.mkForce value' or `lib.mkDefault value' to change the priority.";

  mkOption = { default, type, description ? "" }: { _type = "option"; inherit default type description; };

  # Definitions of one module as a list of { path, found }; throws on a path that no option declares.
  definitions = options: prefix: value:
    concatMap
      (name:
        let
          path = prefix ++ [ name ];
          here = value.${name};
          option = options.${name} or (throw "The option `${show path}' does not exist. Definition values: ${builtins.substring 0 200 (toJSON here)}");
        in
        if isOption option && !(option.type ? members) then [{ inherit path; found = definition here; }]
        else if isOverride here || !(isAttrs here) then throw "The option `${show path}' is a set of options; give its members a value."
        else if isOption option then concatMap (member: definitions { ${member} = option.type.members; } path { ${member} = (conditioned here).${member}; }) (attrNames (conditioned here))
        else definitions option path (conditioned here))
      (attrNames value);

  # Names that definitions give to the members of the option at `path`.
  memberNames = path: all_definitions:
    let depth = builtins.length path; in
    attrNames (builtins.listToAttrs (concatMap
      (d:
        if builtins.length d.path > depth && builtins.genList (builtins.elemAt d.path) depth == path && d.found.active
        then [ { name = builtins.elemAt d.path depth; value = null; } ] else [ ])
      all_definitions));

  evaluate = options: prefix: all_definitions:
    mapAttrs
      (name: option:
        let
          path = prefix ++ [ name ];
          shown = show path;
          mine = filter (found: found.active) (map (d: d.found) (filter (d: d.path == path) all_definitions));
          best = foldl' (a: b: if b.priority < a then b.priority else a) 1500 mine;
          values = map (d: d.value) (filter (d: d.priority == best) mine);
          checked = map (v: if option.type.check v then v else throw "A definition for option `${shown}' is not of type `${option.type.name}'. Definition values: ${toJSON v}") values;
        in
        if isOption option && option.type ? members
        then evaluate (builtins.listToAttrs (map (member: { name = member; value = option.type.members; }) (memberNames path all_definitions))) path all_definitions
        else if isOption option
        then (if mine == [ ] then option.default else option.type.merge shown checked)
        else evaluate option path all_definitions)
      options;

  # What a module says, its imports first; `config = { ... }` and the short form both count.
  expand = args: module:
    let
      loaded = if isPath module || isString module then import module else module;
      body = if isFunction loaded then loaded args else loaded;
      own = conditioned (if body ? config then body.config else removeAttrs body [ "imports" "options" "_file" "key" ]);
    in
    concatMap (expand args) (body.imports or [ ]) ++ [ own ];
in
rec {
  inherit mkOption mkOverride types;
  mkForce = mkOverride 50;
  mkDefault = mkOverride 1000;
  mkIf = condition: content: { _type = "if"; inherit condition content; };
  optionalAttrs = condition: content: if condition then content else { };
  versionAtLeast = one: other: builtins.compareVersions one other >= 0;

  # The options' values after all modules: { options, modules, args } -> config.
  evalModules = { options, modules, args }:
    let
      bodies = config: concatMap (expand (args // { inherit config; })) modules;
      config = evaluate options [ ] (concatMap (definitions options [ ]) (bodies config));
    in
    config;
}
