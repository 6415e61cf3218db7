#!/usr/bin/env escript
%%! -kernel inet_dist_use_interface {127,0,0,1}
%% Two nodes; the receiver is a process with a registered name. Arguments: ROLE FOLDER KIND COUNT RATE BUSY(milliseconds)
%% The files are those of contract.py. Kinds, as in ours.py: monitor, asks, unmonitored.
-mode(compile).
-define(TICK, 10).

main(["receiver", Folder, _, Count, _, Busy]) ->
    start('receiver@127.0.0.1'),
    register(numbers, self()),
    {ok, File} = file:open(filename:join(Folder, "received"), [append, raw]),
    note(Folder, "lives", os:getpid()),
    take(File, Folder, list_to_integer(Count) div 2, list_to_integer(Busy));
main(["sender", Folder, Kind, Count, Rate, _]) ->
    start('sender@127.0.0.1'),
    note(Folder, "sender", os:getpid()),
    connect(),
    send(Folder, Kind, list_to_integer(Count), list_to_integer(Rate)),
    note(Folder, "sent", integer_to_list(os:system_time(nanosecond))),
    halt(0).

start(Name) ->
    {ok, _} = net_kernel:start([Name, longnames]),
    erlang:set_cookie(node(), numbers).

there() -> {numbers, 'receiver@127.0.0.1'}.

note(Folder, Name, Text) ->
    ok = file:write_file(filename:join(Folder, Name), [Text, "\n"], [append]).

%% The receiver.

take(File, Folder, Middle, Busy) ->
    receive
        {number, N} ->
            ok = file:write(File, io_lib:format("~b ~b~n", [N, os:system_time(nanosecond)])),
            case N =:= Middle andalso file:open(filename:join(Folder, "middle"), [write, exclusive]) of
                {ok, _} -> timer:sleep(Busy);
                _ -> ok
            end;
        {last, From} ->
            From ! {last, last(Folder)}
    end,
    take(File, Folder, Middle, Busy).

last(Folder) ->
    {ok, Text} = file:read_file(filename:join(Folder, "received")),
    Lines = string:lexemes(binary_to_list(Text), "\n"),
    lists:max([0 | [list_to_integer(hd(string:lexemes(Line, " "))) || Line <- Lines]]).

%% The sender.

%% Wait until the other node is connected, and its process is registered.
connect() ->
    case net_kernel:connect_node('receiver@127.0.0.1') andalso
         erpc_whereis() of
        Pid when is_pid(Pid) -> ok;
        _ -> timer:sleep(?TICK), connect()
    end.

erpc_whereis() ->
    try erpc:call('receiver@127.0.0.1', erlang, whereis, [numbers], 1000)
    catch _:_ -> undefined
    end.

send(Folder, "unmonitored", Count, Rate) ->
    send_due(none, Folder, "unmonitored", 1, Count, Rate, erlang:monotonic_time(millisecond));
send(Folder, Kind, Count, Rate) ->
    Start = erlang:monotonic_time(millisecond),
    send_due(erlang:monitor(process, there()), Folder, Kind, 1, Count, Rate, Start).

send_due(Monitor, Folder, Kind, Next, Count, Rate, Start) ->
    Until = min(Count, (erlang:monotonic_time(millisecond) - Start) * Rate div 1000),
    case send_numbers(Monitor, Next, Until) of
        {down, At, Reason} ->
            again(Folder, Kind, At, Reason, Count, Rate, Start);
        Sent when Sent > Count ->
            finish(Monitor, Folder, Kind, Sent, Count, Rate, Start);
        Sent ->
            timer:sleep(?TICK),
            send_due(Monitor, Folder, Kind, Sent, Count, Rate, Start)
    end.

%% The sender looks for 'DOWN' before each number.
send_numbers(_, Next, Until) when Next > Until -> Next;
send_numbers(Monitor, Next, Until) ->
    receive
        {'DOWN', Monitor, process, _, Reason} -> {down, Next, Reason}
    after 0 ->
        there() ! {number, Next},
        send_numbers(Monitor, Next + 1, Until)
    end.

%% Note what the monitor said, wait until the other node is back, and go on with another monitor.
again(Folder, Kind, Next, Reason, Count, Rate, Start) ->
    Text = io_lib:format("~b ~b 0 DOWN ~w", [Next, os:system_time(nanosecond), Reason]),
    note(Folder, "told", Text),
    connect(),
    Monitor = erlang:monitor(process, there()),
    From = case Kind of
        "asks" ->
            there() ! {last, self()},
            receive
                {last, Last} -> Last + 1;
                {'DOWN', Monitor, process, _, _} -> Next
            end;
        _ -> Next
    end,
    send_due(Monitor, Folder, Kind, From, Count, Rate, Start).

%% All is sent: wait for an answer behind the last number.
finish(none, _, _, _, _, _, _) ->
    there() ! {last, self()},
    receive {last, _} -> ok after 5000 -> ok end;
finish(Monitor, Folder, Kind, Next, Count, Rate, Start) ->
    there() ! {last, self()},
    receive
        {last, _} -> ok;
        {'DOWN', Monitor, process, _, Reason} -> again(Folder, Kind, Next, Reason, Count, Rate, Start)
    end.
