#!/usr/bin/env escript
%% -*- erlang -*-
%% What OTP's supervisor does: reads histories, one a line, and prints what was started and stopped after each event,
%% behind a line with the version of OTP.
%%
%% A line: strategy;limit;auto_shutdown;children;events
%%   children: name:restart[:significant] with a comma between; events: with a comma between
%%     NAME crash | NAME normal      the child ends by itself
%%     fail NAME COUNT               its next starts fail
%%     remove NAME                   it is stopped and taken out
%%     end                           the supervisor is told to end
-mode(compile).
-export([init/1, start_child/2]).

main([File]) ->
    {ok, Text} = file:read_file(File),
    logger:set_primary_config(level, none),
    ets:new(failing, [named_table, public]),
    io:format("OTP ~s~n", [version()]),
    lists:foreach(fun(Line) -> io:format("~s~n", [play(Line)]) end, string:lexemes(Text, "\n")).

version() ->
    Release = erlang:system_info(otp_release),
    Path = filename:join([code:root_dir(), "releases", Release, "OTP_VERSION"]),
    case file:read_file(Path) of
        {ok, Text} -> string:trim(Text);
        {error, _} -> Release
    end.

play(Line) ->
    [Strategy, Limit, Auto, Children, Events] = string:split(Line, ";", all),
    process_flag(trap_exit, true),
    ets:delete_all_objects(failing),
    Flags = #{strategy => list_to_existing_atom(binary_to_list(Strategy)), intensity => binary_to_integer(Limit), period => 3600,
              auto_shutdown => binary_to_atom(Auto)},
    Me = self(),
    Specs = [spec(C, Me) || C <- string:split(Children, ",", all)],
    {ok, Sup} = supervisor:start_link(?MODULE, {Flags, []}),
    Ref = erlang:monitor(process, Sup),
    lists:foreach(fun(Spec) -> {ok, _} = supervisor:start_child(Sup, Spec) end, Specs),
    settle(Ref, []),
    Told = [event(E, Sup, Ref) || E <- string:split(Events, ",", all)],
    exit(Sup, kill),
    flush(),
    lists:join("|", [lists:join(" ", T) || T <- Told]).

spec(Text, Me) ->
    [Name, Restart | Significant] = string:split(Text, ":", all),
    #{id => Name, start => {?MODULE, start_child, [Name, Me]}, restart => binary_to_atom(Restart),
      significant => Significant =/= [], shutdown => 5000}.

init(Init) -> {ok, Init}.

start_child(Name, Me) ->
    Me ! {story, ["+", Name]},
    case ets:lookup(failing, Name) of
        [{Name, N}] when N > 0 -> ets:insert(failing, {Name, N - 1}), {error, failed};
        _ ->
            Sup = self(),
            Pid = spawn_link(fun() -> process_flag(trap_exit, true), Sup ! {ready, self()}, child(Name, Me) end),
            receive {ready, Pid} -> ok end,
            Me ! {pid, Name, Pid},
            {ok, Pid}
    end.

child(Name, Me) ->
    receive
        {die, Reason} -> exit(Reason);
        {'EXIT', _, _} -> Me ! {story, ["-", Name]}, exit(shutdown)
    end.

event(Text, Sup, Ref) ->
    case string:split(Text, " ", all) of
        [<<"fail">>, Name, Count] -> ets:insert(failing, {Name, binary_to_integer(Count)});
        [<<"remove">>, Name] -> supervisor:terminate_child(Sup, Name), supervisor:delete_child(Sup, Name);
        [<<"end">>] -> exit(Sup, shutdown);
        [Name, How] -> get({pid, Name}) ! {die, binary_to_atom(How)}
    end,
    settle(Ref, []).

%% All that is told until nothing has been for a while.
settle(Ref, Story) ->
    receive
        {story, What} -> settle(Ref, [What | Story]);
        {pid, Name, Pid} -> put({pid, Name}, Pid), settle(Ref, Story);
        {'EXIT', _, _} -> settle(Ref, Story);
        {'DOWN', Ref, _, _, _} -> settle(Ref, ["ended" | Story])
    after 60 -> lists:reverse(Story)
    end.

flush() -> receive _ -> flush() after 20 -> ok end.
