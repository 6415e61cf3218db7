#!/usr/bin/env escript
%%! +P 2000000 -kernel inet_dist_use_interface {127,0,0,1}
%% One process sends to another, in this node or in a second one. Arguments: TASK COUNT SIZE other|PROCESS-ID
%% A message is [ping, Number, <<"hello">>]; each receive names the number that must come next.
-mode(compile).

main([Task, _, _, "other"]) ->
    start('b@127.0.0.1'),
    register(there, self()),
    io:format("~s~n", [os:getpid()]),
    other(list_to_atom(Task));
main([Task, Count, Size, Other]) ->
    N = list_to_integer(Count),
    case lists:member(Task, ["local", "idle"]) of
        true -> ok;
        false -> start('a@127.0.0.1'), true = net_kernel:connect_node('b@127.0.0.1')
    end,
    measure(list_to_atom(Task), N, list_to_integer(Size), Other),
    halt(0).

start(Name) ->
    {ok, _} = net_kernel:start([Name, longnames]),
    erlang:set_cookie(node(), benchmark).

now_ns() -> erlang:monotonic_time(nanosecond).

there() -> {there, 'b@127.0.0.1'}.

measure(local, N, _, _) ->
    Me = self(),
    Sink = spawn(fun() -> sink(0, N), Me ! done end),
    T0 = now_ns(),
    send(Sink, 0, N),
    receive done -> rate(N, now_ns() - T0) end;
measure(one_way, N, _, _) ->
    there() ! {start, self(), N},
    T0 = now_ns(),
    send(there(), 0, N),
    receive done -> rate(N, now_ns() - T0) end;
measure(bulk, N, Size, _) ->
    Data = binary:copy(<<0>>, Size),
    there() ! {start, self(), N, Size},
    T0 = now_ns(),
    send_bulk(there(), 0, N, Data),
    receive done -> io:format("~f MB/s~n", [N * Size * 1.0e3 / (now_ns() - T0)]) end;
measure(round_trip, N, _, _) ->
    All = ask(0, N),
    Times = list_to_tuple(lists:sort(lists:nthtail(N div 10, All))),
    Size = tuple_size(Times),
    io:format("~f us p99=~f~n", [element((Size + 1) div 2, Times) / 1.0e3, element(Size * 99 div 100 + 1, Times) / 1.0e3]);
measure(idle, N, _, _) ->
    erlang:garbage_collect(),
    Before = resident(),
    T0 = now_ns(),
    All = [spawn(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, N)],
    T = now_ns() - T0,
    erlang:garbage_collect(),
    N = length(All),
    io:format("~f bytes~n", [(resident() - Before) / N]),
    T;
measure(kill, _, _, Other) ->
    Ref = erlang:monitor(process, there()),
    %% Starting `kill` would take longer than dying.
    Killer = open_port({spawn, "sh -c 'read x; kill -9 " ++ Other ++ "'"}, [stream]),
    timer:sleep(300),
    T0 = now_ns(),
    port_command(Killer, "go\n"),
    receive {'DOWN', Ref, process, _, noconnection} -> ok end,
    io:format("~f ms~n", [(now_ns() - T0) / 1.0e6]).

rate(N, T) -> io:format("~f messages/s~n", [N * 1.0e9 / T]).

send(_, N, N) -> ok;
send(To, K, N) -> To ! [ping, K, <<"hello">>], send(To, K + 1, N).

send_bulk(_, N, N, _) -> ok;
send_bulk(To, K, N, Data) -> To ! [bulk, K, Data], send_bulk(To, K + 1, N, Data).

ask(N, N) -> [];
ask(K, N) ->
    T0 = now_ns(),
    there() ! {self(), [ping, K, <<"hello">>]},
    receive [pong, K, _] -> ok end,
    T = now_ns() - T0,
    [T | ask(K + 1, N)].

sink(N, N) -> ok;
sink(K, N) -> receive [ping, K, _] -> sink(K + 1, N) end.

sink_bulk(N, N, _) -> ok;
sink_bulk(K, N, Size) -> receive [bulk, K, Data] when byte_size(Data) =:= Size -> sink_bulk(K + 1, N, Size) end.

other(one_way) ->
    receive {start, From, N} -> sink(0, N), From ! done end,
    receive never -> ok end;
other(bulk) ->
    receive {start, From, N, Size} -> sink_bulk(0, N, Size), From ! done end,
    receive never -> ok end;
other(round_trip) ->
    receive {From, [ping, K, Text]} -> From ! [pong, K, Text] end,
    other(round_trip);
other(kill) ->
    receive never -> ok end.

resident() ->
    {ok, Text} = file:read_file("/proc/" ++ os:getpid() ++ "/statm"),
    list_to_integer(lists:nth(2, string:lexemes(binary_to_list(Text), " "))) * 4096.
