{{ list_of_changed(['school_id', 'teacher_id']) }}
